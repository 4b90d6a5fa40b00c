#include "evaluator/scoring/position_nll.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lextra {
namespace {

TEST(PositionNll, IsTheTokenWeightedMeanOverDocuments) {
  PositionNll sums(4, 16);  // document 1 has no target
  sums.Add(0, 0, at::full({3}, 2.0, at::kDouble));
  sums.Add(2, 0, at::full({1}, 6.0, at::kDouble));
  sums.Add(0, 0, at::full({2}, 1.0, at::kDouble));
  sums.Add(3, 0, at::full({4}, 0.5, at::kDouble));
  EXPECT_EQ(sums.Whole().tokens, 10);
  EXPECT_EQ(sums.Whole().documents, 3);
  EXPECT_DOUBLE_EQ(sums.Whole().nll, (6.0 + 2.0 + 6.0 + 2.0) / 10);
}

// Documents of equal size: the error of a mean of D numbers, s / sqrt(D).
TEST(PositionNll, StandardErrorOfEqualDocumentsIsThatOfAMean) {
  PositionNll sums(4, 16);
  const double means[] = {1, 2, 4, 9};
  for (int d = 0; d < 4; ++d) {
    sums.Add(d, 0, at::full({5}, means[d], at::kDouble));
  }
  const double variance = (9.0 + 4.0 + 0.0 + 25.0) / 3;
  EXPECT_DOUBLE_EQ(sums.Whole().standard_error, std::sqrt(variance / 4));
}

// s = (6, 2), n = (3, 1), r = 2: residuals are 0.
TEST(PositionNll, DocumentsWithTheSameMeanHaveNoError) {
  PositionNll sums(2, 16);
  sums.Add(0, 0, at::full({3}, 2.0, at::kDouble));
  sums.Add(1, 0, at::full({1}, 2.0, at::kDouble));
  EXPECT_DOUBLE_EQ(sums.Whole().standard_error, 0);
}

// s = (3, 5), n = (3, 1), r = 2: residuals -3 and 3.
TEST(PositionNll, StandardErrorWeighsDocumentsByTheirTokens) {
  PositionNll sums(2, 16);
  sums.Add(0, 0, at::full({3}, 1.0, at::kDouble));
  sums.Add(1, 0, at::full({1}, 5.0, at::kDouble));
  EXPECT_DOUBLE_EQ(sums.Whole().standard_error, std::sqrt(2.0 * 18.0) / 4);
}

TEST(PositionNll, OneDocumentHasNoErrorAndNoTokensHaveNoMean) {
  PositionNll sums(2, 16);
  EXPECT_TRUE(std::isnan(sums.Whole().nll));
  EXPECT_TRUE(std::isnan(sums.Whole().standard_error));
  sums.Add(1, 0, at::full({3}, 1.0, at::kDouble));
  EXPECT_TRUE(std::isnan(sums.Whole().standard_error));
}

TEST(PositionNll, BinsOfPlacesDoubleInWidth) {
  PositionNll sums(1, 16);
  // Place p has NLL p, in two parts that cut a bin.
  sums.Add(0, 0, at::arange(5, at::kDouble));
  sums.Add(0, 5, at::arange(5, 9, at::kDouble));
  const std::vector<PlaceBin> bins = sums.ByPlace();
  ASSERT_EQ(bins.size(), 5u);
  const PlaceBin expected[] = {{0, 0, {1, 1, 0}},
                               {1, 1, {1, 1, 1}},
                               {2, 3, {2, 1, 2.5}},
                               {4, 7, {4, 1, 5.5}},
                               {8, 15, {1, 1, 8}}};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(bins[i].first, expected[i].first);
    EXPECT_EQ(bins[i].last, expected[i].last);
    EXPECT_EQ(bins[i].of_targets.tokens, expected[i].of_targets.tokens);
    EXPECT_DOUBLE_EQ(bins[i].of_targets.nll, expected[i].of_targets.nll);
  }
}

}  // namespace
}  // namespace lextra
