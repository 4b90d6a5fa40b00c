#include "model/attention/block_mask.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace lextra {
namespace {

using Pairs = std::multiset<std::pair<int64_t, int64_t>>;

// Places in their blocks of all (query, key) pairs of regions.
Pairs PairsOf(const std::vector<MaskRegion>& regions) {
  Pairs pairs;
  for (const MaskRegion& region : regions) {
    EXPECT_GT(region.num_queries, 0);
    EXPECT_GT(region.num_keys, 0);
    for (int64_t q = 0; q < region.num_queries; ++q) {
      for (int64_t k = region.is_triangle ? q : 0; k < region.num_keys; ++k) {
        pairs.insert({region.first_query + q, region.first_key + k});
      }
    }
  }
  return pairs;
}

TEST(BlockMask, RegionsShowAWindowsKeysOnce) {
  for (int64_t h = 1; h <= 9; ++h) {
    for (int64_t window = h; window <= 40; ++window) {
      const BlockMask mask = {.block = h, .window = window};
      for (int64_t back = 1; back <= 45; ++back) {
        Pairs expected;
        for (int64_t query = 0; query < h; ++query) {
          for (int64_t key = 0; key < h; ++key) {
            if (back * h + query - key < window) expected.insert({query, key});
          }
        }
        EXPECT_EQ(PairsOf(RegionsOf(mask, back)), expected)
            << "h " << h << " window " << window << " back " << back;
        EXPECT_EQ(expected.empty(), back > mask.Reach());
      }
    }
  }
}

TEST(BlockMask, BcaShowsAllOfThePreviousBlock) {
  const BlockMask mask = {.block = 4};
  EXPECT_EQ(mask.Reach(), 1);
  EXPECT_EQ(PairsOf(RegionsOf(mask, 1)).size(), 16u);
}

TEST(BlockMask, SinkRegionsShowWhatTheWindowHasLeft) {
  for (int64_t window = 1; window <= 12; ++window) {
    for (int64_t sinks = 0; sinks <= std::min<int64_t>(window, 5); ++sinks) {
      const BlockMask mask = {.block = 5, .window = window, .sinks = sinks};
      for (int64_t first = 0; first <= 30; ++first) {
        Pairs seen;
        for (const SinkRegion& region : SinkRegionsOf(mask, first, 5)) {
          for (int64_t i = 0; i < region.count; ++i) {
            const int64_t more = region.is_corner ? i : 0;
            for (int64_t sink = 0; sink < region.seen + more; ++sink) {
              seen.insert({region.first + i, sink});
            }
          }
        }
        Pairs expected;
        for (int64_t query = first; query < first + 5; ++query) {
          for (int64_t sink = 0; sink < sinks; ++sink) {
            if (query - sink >= window) expected.insert({query, sink});
          }
        }
        EXPECT_EQ(seen, expected)
            << "window " << window << " sinks " << sinks << " from " << first;
      }
    }
  }
}

}  // namespace
}  // namespace lextra
