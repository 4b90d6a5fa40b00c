#include "ops/cuda/gelu.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "tests/ops/cuda/kernel_device.h"

namespace lextra {
namespace {

using testing::ElementTypeOf;
using testing::KernelDevice;

at::ScalarType SumsType(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

// h, dy, dh, sums
std::vector<at::Tensor> Arguments(int64_t rows, int64_t columns,
                                  at::ScalarType type) {
  const auto random = [&] {
    return (at::randn({rows, columns}, at::kDouble) * 3)
        .to(type)
        .to(KernelDevice());
  };
  const int64_t blocks = (rows + kGeluRowsPerBlock - 1) / kGeluRowsPerBlock;
  return {random(), random(), random(),
          at::empty({blocks, columns}, SumsType(type)).to(KernelDevice())};
}

void Launch(const std::vector<at::Tensor>& t, bool with_sums = true) {
  testing::Launch(
      &CudaKernels::gelu_gradient,
      GeluGradientCuda{.type = ElementTypeOf(t[0].scalar_type()),
                       .h = t[0].const_data_ptr(),
                       .dy = t[1].const_data_ptr(),
                       .dh = t[2].mutable_data_ptr(),
                       .sums = with_sums ? t[3].mutable_data_ptr() : nullptr,
                       .rows = t[0].size(0),
                       .columns = t[0].size(1)});
}

at::Tensor InFp64(const at::Tensor& x) {
  return x.to(at::kCPU).to(at::kDouble);
}

class GeluGradientOnGpu : public testing::KernelTest {};

// Rows not a multiple of a block's, columns not of a pack nor of a thread
// block.
TEST_F(GeluGradientOnGpu, EqualsFp64AndSumsColumns) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const int64_t columns : {1, 3, 33, 256, 1000, 4104}) {
      for (const int64_t rows : {0, 1, 32, 71}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << columns << " " << type);
        const std::vector<at::Tensor> t = Arguments(rows, columns, type);
        Launch(t);
        if (rows == 0) continue;
        const at::Tensor expected =
            at::gelu_backward(InFp64(t[1]), InFp64(t[0]));
        // One rounding of the result (bf16), or a few of the products; of sums
        // of up to 71 numbers of both signs, the largest being about 10.
        const double tolerance = type == at::kBFloat16 ? 1.0 / 256
                                 : type == at::kFloat  ? 2e-6
                                                       : 1e-14;
        EXPECT_TRUE(at::allclose(InFp64(t[2]), expected, tolerance, tolerance));
        const double of_sums = type == at::kDouble ? 1e-12 : 2e-4;
        EXPECT_TRUE(at::allclose(InFp64(t[3]).sum(0), expected.sum(0), of_sums,
                                 of_sums));
      }
    }
  }
}

TEST_F(GeluGradientOnGpu, WithoutSumsMakesTheSame) {
  at::manual_seed(2);
  const std::vector<at::Tensor> t = Arguments(40, 24, at::kFloat);
  Launch(t);
  const at::Tensor expected = t[2].clone();
  t[2].zero_();
  t[3].fill_(7);
  Launch(t, /*with_sums=*/false);
  EXPECT_TRUE(at::equal(t[2], expected));
  EXPECT_TRUE(at::equal(t[3].cpu(), at::full({2, 24}, 7.0F)));
}

TEST_F(GeluGradientOnGpu, MayOverwriteItsArgument) {
  at::manual_seed(3);
  std::vector<at::Tensor> t = Arguments(40, 24, at::kBFloat16);
  Launch(t);
  const at::Tensor expected = t[2];
  t[2] = t[1];
  Launch(t);
  EXPECT_TRUE(at::equal(t[1], expected));
}

TEST_F(GeluGradientOnGpu, TakesEachPointerOffAlignment) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    std::vector<at::Tensor> expected;
    for (int shifted = -1; shifted < 3; ++shifted) {
      at::manual_seed(4);
      std::vector<at::Tensor> t = Arguments(5, 16, type);
      if (shifted >= 0) t[shifted] = testing::OffAlignment(t[shifted]);
      Launch(t);
      if (shifted < 0) expected = t;
      EXPECT_TRUE(at::equal(t[2], expected[2])) << type << " " << shifted;
      EXPECT_TRUE(at::equal(t[3], expected[3])) << type << " " << shifted;
    }
  }
}

TEST_F(GeluGradientOnGpu, FarOutIsZeroAndOneAndANaNStaysOne) {
  std::vector<at::Tensor> t = {
      at::tensor({-1e4F, 1e4F, 0.0F, NAN}).view({1, 4}).to(KernelDevice()),
      at::ones({1, 4}).to(KernelDevice()), at::empty({1, 4}).to(KernelDevice()),
      at::empty({1, 4}).to(KernelDevice())};
  Launch(t);
  const at::Tensor dh = t[2].cpu();
  EXPECT_TRUE(at::equal(dh.narrow(1, 0, 3),
                        at::tensor({0.0F, 1.0F, 0.5F}).view({1, 3})));
  EXPECT_TRUE(std::isnan(dh[0][3].item<float>()));
}

}  // namespace
}  // namespace lextra
