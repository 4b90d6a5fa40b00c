#include "base/seeds.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>

namespace lextra {
namespace {

TEST(MixBits, IsTheStepOfSplitMix64) {
  // The first outputs of the published generator with seed 0, whose state
  // grows by the golden ratio's bits each step.
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;
  EXPECT_EQ(MixBits(0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(MixBits(kGolden), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(MixBits(2 * kGolden), 0x06C45D188009454Fu);
}

TEST(MixBits, OneBitChangesAboutHalf) {
  for (int bit = 0; bit < 64; ++bit) {
    const int changed =
        std::popcount(MixBits(12345) ^ MixBits(12345 ^ (uint64_t{1} << bit)));
    EXPECT_GT(changed, 12) << bit;
    EXPECT_LT(changed, 52) << bit;
  }
}

TEST(SeedFor, IsAFunctionOfSeedAndNameAlone) {
  EXPECT_EQ(SeedFor(1, "layers.0.fc1.weight"),
            SeedFor(1, "layers.0.fc1.weight"));
}

TEST(SeedFor, DiffersByNameAndBySeed) {
  std::set<uint64_t> seeds;
  for (const uint64_t seed : {0, 1, 2}) {
    seeds.insert(SeedFor(seed, ""));
    for (int layer = 0; layer < 1000; ++layer) {
      seeds.insert(SeedFor(seed, "layers." + std::to_string(layer)));
    }
  }
  EXPECT_EQ(seeds.size(), 3 * 1001);
  EXPECT_NE(SeedFor(1, "ab"), SeedFor(1, "ba"));
}

// Weights of a run must not change with the program's version.
TEST(SeedFor, StaysWhatItWas) {
  EXPECT_EQ(SeedFor(1, "embed_tokens.weight"), 0xEDC2DDF743C964CAu);
}

}  // namespace
}  // namespace lextra
