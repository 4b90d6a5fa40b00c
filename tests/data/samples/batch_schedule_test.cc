#include "data/samples/batch_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace lextra {
namespace {

// (samples, global batch): divisible, not divisible, the least that promises no
// repeats, fewer than that, fewer than one batch.
constexpr std::pair<int64_t, int64_t> kShapes[] = {
    {100, 10}, {101, 16}, {97, 1},  {32, 16}, {33, 16},
    {50, 16},  {31, 16},  {16, 16}, {7, 16},  {1, 4}};

// The samples of steps 0, 1, ... in order.
std::vector<int64_t> Stream(const BatchSchedule& schedule, int64_t num_steps) {
  std::vector<int64_t> stream;
  for (int64_t step = 0; step < num_steps; ++step) {
    const std::vector<int64_t> batch = schedule.GlobalBatch(step);
    stream.insert(stream.end(), batch.begin(), batch.end());
  }
  return stream;
}

TEST(BatchSchedule, ReadsEverySampleOnceInEveryEpoch) {
  for (const auto& [samples, batch] : kShapes) {
    constexpr int64_t kEpochs = 12;
    const BatchSchedule schedule(5, samples, batch);
    const std::vector<int64_t> stream =
        Stream(schedule, kEpochs * samples / batch + 1);
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      std::vector<int64_t> seen(stream.begin() + epoch * samples,
                                stream.begin() + (epoch + 1) * samples);
      std::sort(seen.begin(), seen.end());
      std::vector<int64_t> all(samples);
      std::iota(all.begin(), all.end(), 0);
      ASSERT_EQ(seen, all) << samples << " / " << batch << " epoch " << epoch;
    }
  }
}

TEST(BatchSchedule, HoldsNoSampleTwiceInABatch) {
  int spanning = 0;
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    for (const auto& [samples, batch] : kShapes) {
      const BatchSchedule schedule(seed, samples, batch);
      EXPECT_EQ(schedule.BatchesAreFreeOfRepeats(), samples >= 2 * batch);
      if (!schedule.BatchesAreFreeOfRepeats()) continue;
      for (int64_t step = 0; step < 40 * samples / batch; ++step) {
        const std::vector<int64_t> ordered = schedule.GlobalBatch(step);
        ASSERT_EQ(std::ssize(ordered), batch);
        const std::set<int64_t> distinct(ordered.begin(), ordered.end());
        ASSERT_EQ(std::ssize(distinct), batch)
            << samples << " / " << batch << " step " << step;
        spanning += step * batch % samples + batch > samples;
      }
    }
  }
  EXPECT_GT(spanning, 500);
}

TEST(BatchSchedule, GlobalBatchIsTheSameAtEveryDataDegree) {
  for (const auto& [samples, batch] :
       {std::pair<int64_t, int64_t>{101, 16}, {40, 8}, {7, 8}}) {
    const BatchSchedule schedule(9, samples, batch);
    for (int64_t step = 0; step < 60; ++step) {
      const std::vector<int64_t> whole = schedule.RankBatch(step, 0, 1);
      ASSERT_EQ(whole, schedule.GlobalBatch(step));
      for (const int num_ranks : {2, 4}) {
        std::vector<int64_t> joined;
        for (int rank = 0; rank < num_ranks; ++rank) {
          const std::vector<int64_t> part =
              schedule.RankBatch(step, rank, num_ranks);
          ASSERT_EQ(std::ssize(part), batch / num_ranks);
          joined.insert(joined.end(), part.begin(), part.end());
        }
        ASSERT_EQ(joined, whole) << "step " << step << " at " << num_ranks;
      }
    }
  }
}

TEST(BatchSchedule, ContinuesTheSameAfterAResume) {
  const BatchSchedule first(11, 101, 16);
  const std::vector<int64_t> stream = Stream(first, 50);
  for (int64_t step = 49; step >= 0; --step) {  // in any order, by a new object
    const BatchSchedule resumed(11, 101, 16);
    const std::vector<int64_t> batch = resumed.GlobalBatch(step);
    EXPECT_TRUE(
        std::equal(batch.begin(), batch.end(), stream.begin() + step * 16));
  }
}

TEST(BatchSchedule, DiffersBetweenSeedsAndEpochs) {
  const std::vector<int64_t> one = Stream(BatchSchedule(1, 100, 10), 20);
  const std::vector<int64_t> two = Stream(BatchSchedule(2, 100, 10), 20);
  EXPECT_NE(one, two);
  EXPECT_FALSE(std::equal(one.begin(), one.begin() + 100, one.begin() + 100));
}

// Places near an epoch's begin are moved to avoid repeats; that must not favor
// any sample much. Chi-square of the first batch's samples over seeds: mean n-1
// = 39, deviation sqrt(2 * 39); five deviations are allowed.
TEST(BatchSchedule, FirstSamplesOfAnEpochStayUniform) {
  constexpr int64_t kSamples = 40;
  constexpr int64_t kBatch = 12;
  std::vector<double> count(kSamples);
  constexpr int kSeeds = 4000;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    // Step 3 spans: places 36..39 of epoch 0, then 8 of epoch 1.
    const std::vector<int64_t> batch =
        BatchSchedule(seed, kSamples, kBatch).GlobalBatch(3);
    for (int64_t i = 4; i < kBatch; ++i) ++count[batch[i]];
  }
  const double expected = kSeeds * 8.0 / kSamples;
  double statistic = 0;
  for (const double seen : count) {
    statistic += (seen - expected) * (seen - expected) / expected;
  }
  EXPECT_LT(statistic, 39 + 5 * 8.8);
}

// Fixed forever: a resumed run must read on where it stopped, also after an
// update of the program.
TEST(BatchSchedule, KeepsItsOrderBetweenVersions) {
  EXPECT_EQ(BatchSchedule(1, 1000, 8).GlobalBatch(0),
            std::vector<int64_t>({903, 53, 343, 970, 205, 964, 650, 680}));
  EXPECT_EQ(BatchSchedule(1, 20, 8).GlobalBatch(2),
            std::vector<int64_t>({4, 3, 2, 10, 14, 9, 18, 17}));
}

}  // namespace
}  // namespace lextra
