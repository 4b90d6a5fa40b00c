#include "evaluator/position_nll.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lextra {
namespace {

TEST(PositionNll, IsTheTokenWeightedMeanOverDocuments) {
  PositionNll sums(4);  // document 1 has no target
  sums.Add(0, 0, at::full({3}, 2.0, at::kDouble));
  sums.Add(2, 0, at::full({1}, 6.0, at::kDouble));
  sums.Add(0, 0, at::full({2}, 1.0, at::kDouble));
  sums.Add(3, 0, at::full({4}, 0.5, at::kDouble));
  EXPECT_EQ(sums.num_tokens(), 10);
  EXPECT_EQ(sums.num_documents(), 3);
  EXPECT_DOUBLE_EQ(sums.Mean(), (6.0 + 2.0 + 6.0 + 2.0) / 10);
}

// Documents of equal size: the error of a mean of D numbers, s / sqrt(D).
TEST(PositionNll, StandardErrorOfEqualDocumentsIsThatOfAMean) {
  PositionNll sums(4);
  const double means[] = {1, 2, 4, 9};
  for (int d = 0; d < 4; ++d) {
    sums.Add(d, 0, at::full({5}, means[d], at::kDouble));
  }
  const double variance = (9.0 + 4.0 + 0.0 + 25.0) / 3;
  EXPECT_DOUBLE_EQ(sums.StandardError(), std::sqrt(variance / 4));
}

// s = (6, 2), n = (3, 1), r = 2: residuals are 0.
TEST(PositionNll, DocumentsWithTheSameMeanHaveNoError) {
  PositionNll sums(2);
  sums.Add(0, 0, at::full({3}, 2.0, at::kDouble));
  sums.Add(1, 0, at::full({1}, 2.0, at::kDouble));
  EXPECT_DOUBLE_EQ(sums.StandardError(), 0);
}

// s = (3, 5), n = (3, 1), r = 2: residuals -3 and 3.
TEST(PositionNll, StandardErrorWeighsDocumentsByTheirTokens) {
  PositionNll sums(2);
  sums.Add(0, 0, at::full({3}, 1.0, at::kDouble));
  sums.Add(1, 0, at::full({1}, 5.0, at::kDouble));
  EXPECT_DOUBLE_EQ(sums.StandardError(), std::sqrt(2.0 * 18.0) / 4);
}

TEST(PositionNll, OneDocumentHasNoErrorAndNoTokensHaveNoMean) {
  PositionNll sums(2);
  EXPECT_TRUE(std::isnan(sums.Mean()));
  EXPECT_TRUE(std::isnan(sums.StandardError()));
  sums.Add(1, 0, at::full({3}, 1.0, at::kDouble));
  EXPECT_TRUE(std::isnan(sums.StandardError()));
}

TEST(PositionNll, BitsPerByteDivideAllNatsByAllBytes) {
  PositionNll sums(1);
  sums.Add(0, 0, at::full({6}, std::log(2.0), at::kDouble));
  EXPECT_DOUBLE_EQ(sums.BitsPerByte(24), 0.25);
}

TEST(PositionNll, BinsOfPlacesDoubleInWidth) {
  PositionNll sums(1);
  // Place p has NLL p, in two parts that cut a bin.
  sums.Add(0, 0, at::arange(5, at::kDouble));
  sums.Add(0, 5, at::arange(5, 9, at::kDouble));
  const std::vector<PlaceBin> bins = sums.ByPlace();
  ASSERT_EQ(bins.size(), 5u);
  const PlaceBin expected[] = {{0, 0, 1, 0},
                               {1, 1, 1, 1},
                               {2, 3, 2, 2.5},
                               {4, 7, 4, 5.5},
                               {8, 15, 1, 8}};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(bins[i].first, expected[i].first);
    EXPECT_EQ(bins[i].last, expected[i].last);
    EXPECT_EQ(bins[i].tokens, expected[i].tokens);
    EXPECT_DOUBLE_EQ(bins[i].nll, expected[i].nll);
  }
}

}  // namespace
}  // namespace lextra
