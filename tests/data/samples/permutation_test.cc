#include "data/samples/permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lextra {
namespace {

TEST(Permutation, HitsEveryPlaceOnceAtEverySize) {
  for (const int64_t size : {1, 2, 3, 4, 5, 15, 16, 17, 64, 100, 1000, 4097}) {
    for (const uint64_t key : {0u, 1u, 12345u}) {
      const Permutation permutation(key, size);
      std::vector<int> hits(size);
      for (int64_t i = 0; i < size; ++i) {
        const int64_t place = permutation(i);
        ASSERT_GE(place, 0);
        ASSERT_LT(place, size);
        ++hits[place];
      }
      for (int64_t i = 0; i < size; ++i) ASSERT_EQ(hits[i], 1) << size;
    }
  }
}

TEST(Permutation, WorksAtTheLargestSizes) {
  const int64_t size = INT64_MAX;
  const Permutation permutation(3, size);
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_GE(permutation(i), 0);
    EXPECT_NE(permutation(i), permutation(size - 1 - i));
  }
}

// Every (place, value) must be equally frequent over the keys. The statistic
// has mean (n-1)^2 and deviation sqrt(2) (n-1) for a fair shuffle; five
// deviations are allowed.
TEST(Permutation, IsUniformOverKeys) {
  constexpr int kKeys = 20000;
  for (const int n : {3, 5, 10, 17}) {
    std::vector<int> count(n * n);
    for (int key = 0; key < kKeys; ++key) {
      const Permutation permutation(key, n);
      for (int i = 0; i < n; ++i) ++count[i * n + permutation(i)];
    }
    const double expected = double{kKeys} / n;
    double statistic = 0;
    for (const int seen : count) {
      statistic += (seen - expected) * (seen - expected) / expected;
    }
    const double mean = (n - 1) * (n - 1);
    EXPECT_NEAR(statistic, mean, 5 * std::sqrt(2) * (n - 1)) << n;
  }
}

// A fair shuffle moves a place by n/3 on average and correlates with nothing.
TEST(Permutation, LeavesNoOrderBehind) {
  constexpr int64_t kSize = 10000;
  const Permutation permutation(7, kSize);
  double displacement = 0;
  int64_t rises = 0;
  int64_t neighbors = 0;
  for (int64_t i = 0; i < kSize; ++i) {
    displacement += std::abs(static_cast<double>(permutation(i) - i)) / kSize;
    if (i == 0) continue;
    const int64_t step = permutation(i) - permutation(i - 1);
    rises += step > 0;
    neighbors += std::abs(step) == 1;
  }
  EXPECT_NEAR(displacement / kSize, 1.0 / 3, 0.01);
  EXPECT_NEAR(rises, kSize / 2.0, 150);
  EXPECT_LE(neighbors, 12);  // 2 expected
}

}  // namespace
}  // namespace lextra
