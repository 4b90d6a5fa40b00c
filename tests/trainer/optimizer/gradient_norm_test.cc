#include "trainer/optimizer/gradient_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lextra {
namespace {

double Sum(const at::Tensor& values) {
  return SumOfSquares(values).item<double>();
}

// fp32: two units in the last place, 2.4e-7 (a square and a sum round by half
// of one each, and of few numbers not all errors cancel: 1.2e-7 was seen for
// 15).
TEST(SumOfSquares, IsExactToTwoUnitsInTheLastPlace) {
  at::manual_seed(1);
  // Sizes around the kernel's lanes, blocks and chunks, and one that shows
  // at::linalg_vector_norm's error of 4e-4.
  for (const int64_t size :
       {1, 15, 16, 17, 511, 513, 32768, 32769, 10'000'000}) {
    const at::Tensor values = at::randn({size});
    const double exact = values.to(at::kDouble).square().sum().item<double>();
    EXPECT_NEAR(Sum(values) / exact, 1.0, 2.4e-7) << size;
    EXPECT_NEAR(Sum(values.to(at::kDouble)) / exact, 1.0, 1e-13) << size;
  }
}

TEST(SumOfSquares, DoesNotDependOnThreads) {
  const at::Tensor values = at::randn({1'000'003});
  at::set_num_threads(1);
  const double one = Sum(values);
  at::set_num_threads(2);
  EXPECT_EQ(Sum(values), one);
}

TEST(SumOfSquares, PassesNonFiniteValuesOn) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    at::Tensor values = at::zeros({100'000});
    values[77'777] = bad;
    EXPECT_FALSE(std::isfinite(Sum(values)));
  }
}

}  // namespace
}  // namespace lextra
