#include "model/attention/document_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace lextra {
namespace {

constexpr int64_t kPlaces = 60;

// The definition of docs/method.md section 2, a pair at a time.
bool Sees(const DocumentMask& mask, int64_t query, int64_t key) {
  if (key > query) return false;
  switch (mask.kind) {
    case CAUSAL:
      return true;
    case BCA:
      return key / mask.block >= query / mask.block - 1;
    case WINDOW:
    case WINDOW_AND_SINKS:
      return query - key < mask.window || key < mask.sinks;
  }
  return false;
}

std::vector<DocumentMask> AllMasks() {
  std::vector<DocumentMask> masks = {
      {}, {.kind = BCA, .block = 8}, {.kind = BCA, .block = 5}};
  for (const int64_t window : {1, 2, 7, 24, 25, 400}) {
    masks.push_back({.kind = WINDOW, .window = window});
    for (const int64_t sinks : {1, 4}) {
      if (sinks > window) continue;
      masks.push_back(
          {.kind = WINDOW_AND_SINKS, .window = window, .sinks = sinks});
    }
  }
  return masks;
}

TEST(DocumentMask, CountsTheKeysThatItShows) {
  for (const DocumentMask& mask : AllMasks()) {
    double seen = 0;
    for (int64_t query = 0; query < kPlaces; ++query) {
      EXPECT_EQ(mask.VisibleKeys(query), seen) << mask.Text() << " " << query;
      for (int64_t key = 0; key <= query; ++key) {
        seen += Sees(mask, query, key);
      }
    }
  }
}

TEST(DocumentMask, KeyRunsHoldExactlyTheVisibleKeys) {
  for (const DocumentMask& mask : AllMasks()) {
    for (int64_t query = 0; query < kPlaces; ++query) {
      const int64_t first_key = mask.FirstKey(query);
      const int64_t end = std::min(mask.KeyRunEnd(query), kPlaces);
      ASSERT_GT(end, query);
      for (int64_t other = query; other < end; ++other) {
        for (int64_t key = mask.sinks; key <= other; ++key) {
          EXPECT_EQ(Sees(mask, other, key),
                    key >= first_key && other - key < mask.MaxDistance())
              << mask.Text() << " " << other << " " << key;
        }
      }
    }
  }
}

TEST(DocumentMask, SpanIsTheMostThatAQueryCanSee) {
  for (const DocumentMask& mask : AllMasks()) {
    int64_t most = 0;
    for (int64_t query = 0; query < kPlaces; ++query) {
      int64_t seen = 0;
      for (int64_t key = 0; key <= query; ++key) seen += Sees(mask, query, key);
      most = std::max(most, seen);
    }
    // The last block need not be whole.
    EXPECT_EQ(mask.Span(kPlaces), most) << mask.Text();
  }
}

TEST(DocumentMask, CenterIsHalfOfWhatAQuerySeesOrOfTrainingsLength) {
  EXPECT_EQ(DocumentMask().Center(100), 50);
  EXPECT_EQ((DocumentMask{.kind = BCA, .block = 8}).Center(100), 8);
  EXPECT_EQ((DocumentMask{.kind = WINDOW, .window = 31}).Center(100), 15);
  EXPECT_EQ((DocumentMask{.kind = WINDOW_AND_SINKS, .window = 30, .sinks = 4})
                .Center(100),
            17);
}

TEST(DocumentMask, BlocksOfAWindowFitIntoASegment) {
  const DocumentMask window = {
      .kind = WINDOW_AND_SINKS, .window = 100, .sinks = 4};
  const BlockMask long_document = window.Blocks(1000, 30);
  EXPECT_EQ(long_document.block, 25);
  EXPECT_EQ(long_document.window, 100);
  EXPECT_EQ(long_document.sinks, 4);
  const BlockMask short_document = window.Blocks(40, 30);
  EXPECT_EQ(short_document.block, 20);
  EXPECT_EQ(short_document.sinks, 0);
  EXPECT_EQ((DocumentMask{.kind = BCA, .block = 8}).Blocks(1000, 4).block, 8);
}

TEST(DocumentMask, SizesOfAnotherKindAreNotValid) {
  for (const DocumentMask& mask : AllMasks()) {
    EXPECT_TRUE(mask.is_valid()) << mask.Text();
    EXPECT_EQ(mask.is_blockwise(), mask.kind != CAUSAL);
  }
  EXPECT_FALSE((DocumentMask{.kind = BCA}).is_valid());
  EXPECT_FALSE((DocumentMask{.kind = WINDOW, .block = 8}).is_valid());
  EXPECT_FALSE((DocumentMask{.kind = CAUSAL, .window = 8}).is_valid());
  EXPECT_FALSE((DocumentMask{.kind = WINDOW_AND_SINKS, .window = 3, .sinks = 4})
                   .is_valid());
}

TEST(DocumentMask, TextsTellAllMasksApart) {
  std::set<std::string> texts;
  for (const DocumentMask& mask : AllMasks()) {
    EXPECT_TRUE(texts.insert(mask.Text()).second) << mask.Text();
  }
  EXPECT_TRUE(texts.contains("window 24 and 4 sinks"));
  EXPECT_TRUE(texts.contains("BCA 8"));
}

}  // namespace
}  // namespace lextra
