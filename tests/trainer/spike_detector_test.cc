#include "trainer/spike_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lextra {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A full window of losses with mean 3 and deviation 0.5, and of norms with mean
// 1 and deviation 0.25.
SpikeDetector Filled(double z_threshold) {
  SpikeDetector detector(z_threshold);
  for (int i = 0; i < 128; ++i) {
    const int sign = i % 2 == 0 ? 1 : -1;
    detector.Add(3 + sign * 0.5, 1 + sign * 0.25);
  }
  return detector;
}

TEST(SpikeDetector, ScoresInDeviationsAboveTheMeanOfTheWindow) {
  const SpikeDetector detector = Filled(0);
  EXPECT_DOUBLE_EQ(detector.ZScore(3, 1), 0);
  EXPECT_DOUBLE_EQ(detector.ZScore(5, 1), 4);
  EXPECT_DOUBLE_EQ(detector.ZScore(3, 2), 4);
  EXPECT_DOUBLE_EQ(detector.ZScore(4, 2.5), 6);  // the larger of 2 and 6
}

TEST(SpikeDetector, OnlyARiseIsASpike) {
  const SpikeDetector detector = Filled(4);
  EXPECT_DOUBLE_EQ(detector.ZScore(0, -1), -6);
  EXPECT_FALSE(detector.IsSpike(-1e9, -1e9));
  EXPECT_FALSE(detector.IsSpike(5, 2));  // 4 itself is not above 4
  EXPECT_TRUE(detector.IsSpike(5.001, 1));
  EXPECT_TRUE(detector.IsSpike(3, 2.001));
}

TEST(SpikeDetector, ThresholdZeroScoresButFindsNoSpike) {
  const SpikeDetector detector = Filled(0);
  EXPECT_GT(detector.ZScore(1e9, 1e9), 1e8);
  EXPECT_FALSE(detector.IsSpike(1e9, 1e9));
  EXPECT_FALSE(detector.IsSpike(kNaN, kInfinity));
}

TEST(SpikeDetector, HasNoVerdictBeforeTheWindowIsFull) {
  SpikeDetector detector(3);
  for (int i = 0; i < 127; ++i) {
    detector.Add(i % 2, i % 2);
    ASSERT_FALSE(detector.IsSpike(1e9, 1e9)) << i;
  }
  EXPECT_EQ(detector.ZScore(1e9, 1e9), 0);
  detector.Add(1, 1);
  EXPECT_TRUE(detector.IsSpike(1e9, 0));
}

TEST(SpikeDetector, AValueThatIsNotFiniteIsAnOutlierAndNeverAdded) {
  SpikeDetector detector = Filled(3);
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    EXPECT_EQ(detector.ZScore(bad, 1), kInfinity);
    EXPECT_TRUE(detector.IsSpike(3, bad));
    EXPECT_TRUE(SpikeDetector(3).IsSpike(bad, 1)) << "an empty window";
    detector.Add(bad, bad);
  }
  EXPECT_EQ(detector.losses(), Filled(3).losses());
  // The finite one of a pair is.
  detector.Add(7, kNaN);
  EXPECT_EQ(detector.losses().back(), 7);
  EXPECT_EQ(detector.norms(), Filled(3).norms());
}

TEST(SpikeDetector, AScoreThatIsNotFiniteIsAnOutlier) {
  SpikeDetector detector(3);
  // The sum of these overflows.
  for (int i = 0; i < 128; ++i) detector.Add(1e308, 1);
  EXPECT_EQ(detector.ZScore(1e308, 1), kInfinity);
}

TEST(SpikeDetector, AnyRiseAboveEqualValuesIsASpikeAndEqualityIsNot) {
  SpikeDetector detector(100);
  for (int i = 0; i < 128; ++i) detector.Add(2.5, 0);
  EXPECT_EQ(detector.ZScore(2.5, 0), 0);
  EXPECT_EQ(detector.ZScore(2.4, 0), 0);
  EXPECT_FALSE(detector.IsSpike(2.5, 0));
  EXPECT_TRUE(detector.IsSpike(2.6, 0));
  EXPECT_TRUE(detector.IsSpike(2.5, 1e-30));
}

TEST(SpikeDetector, KeepsItsDigitsWhereValuesDifferLittle) {
  SpikeDetector detector(0);
  for (int i = 0; i < 128; ++i) {
    detector.Add(1e8 + (i % 2 == 0 ? 1e-4 : -1e-4), 1);
  }
  EXPECT_NEAR(detector.ZScore(1e8 + 5e-4, 1), 5, 1e-3);
}

TEST(SpikeDetector, ALastingChangeOfLevelEndsBeingASpike) {
  SpikeDetector detector = Filled(6);
  int skipped = 0;
  while (detector.IsSpike(50, 1)) {
    ASSERT_LT(++skipped, 128);
    detector.Add(50, 1);
  }
  // k of 128 values at the level: z = sqrt(128 / k - 1), below 6 from k = 4 on.
  EXPECT_EQ(skipped, 4);
}

TEST(SpikeDetector, ForgetsWhatIsOlderThanTheWindow) {
  SpikeDetector detector(3);
  for (int i = 0; i < 1000; ++i) detector.Add(1e6 * (i % 2), 1e6);
  const SpikeDetector fresh = Filled(3);
  for (int i = 0; i < 128; ++i) {
    detector.Add(fresh.losses()[i], fresh.norms()[i]);
  }
  EXPECT_EQ(detector.losses(), fresh.losses());
  EXPECT_EQ(detector.ZScore(4, 1), fresh.ZScore(4, 1));
}

TEST(SpikeDetector, ContinuesFromItsStoredWindowsToTheLastBit) {
  SpikeDetector detector(3);
  for (int i = 0; i < 200; ++i) detector.Add(std::sin(i), std::exp(0.01 * i));
  EXPECT_EQ(detector.losses().size(), 128u);
  EXPECT_EQ(detector.losses().front(), std::sin(72));
  EXPECT_EQ(detector.losses().back(), std::sin(199));
  SpikeDetector restored(3);
  restored.Add(1e9, 1e9);
  restored.Restore(detector.losses(), detector.norms());
  EXPECT_EQ(restored.losses(), detector.losses());
  EXPECT_EQ(restored.norms(), detector.norms());
  EXPECT_EQ(restored.ZScore(1.5, 8), detector.ZScore(1.5, 8));
}

TEST(SpikeDetector, RestoresTheNewestFiniteValuesOfWhateverItIsGiven) {
  std::vector<double> losses(300, 1.0);
  losses[10] = kNaN;
  losses.back() = 2;
  SpikeDetector detector(3);
  detector.Add(9, 9);
  detector.Restore(losses, {kInfinity, 5});
  EXPECT_EQ(detector.losses().size(), 128u);
  EXPECT_EQ(detector.losses().back(), 2);
  EXPECT_EQ(detector.norms(), std::vector<double>{5});
}

}  // namespace
}  // namespace lextra
