#include "evaluator/scoring/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <utility>

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SizesOnly : public Documents {
 public:
  explicit SizesOnly(std::vector<int64_t> sizes)
      : Documents({}), sizes_(std::move(sizes)) {}
  int64_t num_documents() const override { return sizes_.size(); }
  int64_t size(int64_t document) const override { return sizes_[document]; }
  absl::Status Read(int64_t, int64_t, std::span<int64_t>) const override {
    return absl::OkStatus();
  }

 private:
  std::vector<int64_t> sizes_;
};

EvaluationConfig Config(Protocol protocol, std::vector<int64_t> lengths,
                        int64_t max_tokens = 0, int64_t stride = 0) {
  EvaluationConfig config;
  config.set_stride(stride);
  config.add_protocols(protocol);
  for (const int64_t length : lengths) config.add_lengths(length);
  config.set_max_tokens(max_tokens);
  return config;
}

using Target = std::pair<int64_t, int64_t>;  // document, place

std::multiset<Target> TargetsOf(const PlannedRow& row) {
  std::multiset<Target> targets;
  for (const Piece& piece : row.pieces) {
    for (int64_t i = piece.num_context + 1; i <= piece.num_targets; ++i) {
      targets.insert({piece.document, piece.begin + i});
    }
  }
  return targets;
}

TEST(PlanRows, NonOverlappingScoresTheSameTargetsOnceAtEveryLength) {
  const SizesOnly documents({12, 13, 3, 0, 40, 1, 25});
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(NON_OVERLAPPING, {1, 4, 5, 12})).value();
  ASSERT_EQ(rows.size(), 4u);
  // 13, 40 and 25 tokens hold 1, 3 and 2 times 12 targets.
  std::multiset<Target> expected;
  for (const auto& [document, targets] :
       {Target{1, 12}, Target{4, 36}, Target{6, 24}}) {
    for (int64_t i = 1; i <= targets; ++i) expected.insert({document, i});
  }
  for (const PlannedRow& row : rows) {
    EXPECT_EQ(TargetsOf(row), expected) << row.length;
    for (const Piece& piece : row.pieces) {
      EXPECT_LE(piece.num_targets, row.length);
      EXPECT_LE(piece.begin + piece.num_targets + 1,
                documents.size(piece.document));
    }
  }
  EXPECT_THAT(rows[3].pieces,
              ElementsAre(Piece{1, 0, 12}, Piece{4, 0, 12}, Piece{4, 12, 12},
                          Piece{4, 24, 12}, Piece{6, 0, 12}, Piece{6, 12, 12}));
}

TEST(PlanRows, SlidingScoresTheTargetsOfNonOverlappingInWindowsOfTheLength) {
  const SizesOnly documents({12, 13, 40});
  const std::vector<int64_t> lengths = {3, 5, 12};
  const std::vector<PlannedRow> apart =
      PlanRows(documents, Config(NON_OVERLAPPING, lengths)).value();
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(SLIDING, lengths, 0, 2)).value();
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(TargetsOf(rows[i]), TargetsOf(apart[i])) << rows[i].length;
    for (const Piece& piece : rows[i].pieces) {
      EXPECT_EQ(piece.num_targets, rows[i].length);
      EXPECT_TRUE(piece.begin == 0 || piece.num_counted() <= 2);
    }
  }
  EXPECT_THAT(
      std::vector(rows[1].pieces.begin(), rows[1].pieces.begin() + 5),
      ElementsAre(Piece{1, 0, 5, 0}, Piece{1, 2, 5, 3}, Piece{1, 4, 5, 3},
                  Piece{1, 6, 5, 3}, Piece{1, 7, 5, 4}));
}

TEST(PlanRows, SameTargetsScoresTheSameTargetsWithItsLengthOfContext) {
  const SizesOnly documents({12, 13, 16, 40, 18});
  const std::vector<int64_t> lengths = {3, 4, 12};
  for (const int64_t stride : {1, 3}) {
    const std::vector<PlannedRow> rows =
        PlanRows(documents, Config(SAME_TARGETS, lengths, 0, stride)).value();
    for (const PlannedRow& row : rows) {
      EXPECT_EQ(TargetsOf(row), TargetsOf(rows[0])) << row.length;
      for (const Piece& piece : row.pieces) {
        EXPECT_EQ(piece.num_targets, row.length);
        EXPECT_EQ(piece.num_counted(), stride);
        EXPECT_GE(piece.begin, 0);
        EXPECT_LT(piece.begin + piece.num_targets,
                  documents.size(piece.document));
      }
    }
    // From the first that the longest window can count to the document's end.
    std::multiset<Target> expected;
    for (const auto& [document, targets] :
         {Target{1, 12}, Target{2, 15}, Target{3, 39}, Target{4, 17}}) {
      const int64_t first = 12 - stride;
      const int64_t last = first + (targets - first) / stride * stride;
      for (int64_t i = first + 1; i <= last; ++i)
        expected.insert({document, i});
    }
    EXPECT_EQ(TargetsOf(rows[0]), expected);
  }
}

TEST(PlanRows, TheBudgetOfSameTargetsIsOfTargetsThatCount) {
  const SizesOnly documents({40, 13});
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(SAME_TARGETS, {4, 12}, 10, 3)).value();
  EXPECT_THAT(rows[0].pieces, ElementsAre(Piece{0, 8, 4, 1}, Piece{0, 11, 4, 1},
                                          Piece{1, 8, 4, 1}));
}

TEST(PlanRows, PrefixTakesTheFirstTokensOfTheSameDocuments) {
  const SizesOnly documents({12, 13, 40});
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(PREFIX, {4, 12})).value();
  EXPECT_THAT(rows[0].pieces, ElementsAre(Piece{1, 0, 4}, Piece{2, 0, 4}));
  EXPECT_THAT(rows[1].pieces, ElementsAre(Piece{1, 0, 12}, Piece{2, 0, 12}));
}

TEST(PlanRows, StreamingTakesWholeDocumentsThatHaveATarget) {
  const SizesOnly documents({5, 0, 1, 2, 100});
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(STREAMING, {4})).value();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].length, 100);
  EXPECT_THAT(rows[0].pieces,
              ElementsAre(Piece{0, 0, 4}, Piece{3, 0, 1}, Piece{4, 0, 99}));
}

TEST(PlanRows, MaxTokensTakesTheSameTargetsForEveryRow) {
  const SizesOnly documents({30, 30, 30});
  for (const int64_t length : {5, 10}) {
    const std::vector<PlannedRow> rows =
        PlanRows(documents, Config(NON_OVERLAPPING, {length, 10}, 39)).value();
    // Three times 10 fit, one of each document.
    for (const PlannedRow& row : rows) {
      EXPECT_EQ(TargetsOf(row).size(), 30u);
      EXPECT_EQ(row.pieces.back().document, 2);
    }
  }
  EXPECT_THAT(PlanRows(documents, Config(PREFIX, {10}, 29))->front().pieces,
              ElementsAre(Piece{0, 0, 10}, Piece{1, 0, 10}));
  EXPECT_THAT(PlanRows(documents, Config(STREAMING, {10}, 31))->front().pieces,
              ElementsAre(Piece{0, 0, 29}, Piece{1, 0, 2}));
}

TEST(PlanRows, DocumentsThatAreTooShortAreAnInputErrorThatSaysHowLong) {
  const absl::Status status =
      PlanRows(SizesOnly({3, 10}), Config(PREFIX, {4, 10})).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()), HasSubstr("more than 10 tokens"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("has 10"));
}

TEST(PlanRows, MaxTokensBelowTheLongestLengthIsAUsageError) {
  const absl::Status status =
      PlanRows(SizesOnly({100}), Config(NON_OVERLAPPING, {4, 10}, 9)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("evaluation.max_tokens = 9"));
}

TEST(PlanRows, ABudgetCoversManyDocumentsRatherThanFewLongOnes) {
  const SizesOnly documents({41, 5, 21, 31});
  const auto targets_of = [&](int64_t max_tokens) {
    std::vector<int64_t> targets;
    const std::vector<PlannedRow> rows =
        PlanRows(documents, Config(NON_OVERLAPPING, {10, 5}, max_tokens))
            .value();
    for (const Piece& piece : rows[0].pieces) {
      targets.resize(4);
      targets[piece.document] += piece.num_targets;
    }
    return targets;
  };
  EXPECT_THAT(targets_of(29), testing::ElementsAre(10, 0, 10, 0));
  EXPECT_THAT(targets_of(30), testing::ElementsAre(10, 0, 10, 10));
  EXPECT_THAT(targets_of(65), testing::ElementsAre(20, 0, 20, 20));
  EXPECT_THAT(targets_of(0), testing::ElementsAre(40, 0, 20, 30));
}

// One turn a document and round, counted out.
std::vector<int64_t> DealtOneByOne(const std::vector<int64_t>& most,
                                   int64_t turns) {
  std::vector<int64_t> dealt(most.size());
  for (bool more = true; more;) {
    more = false;
    for (size_t d = 0; d < most.size(); ++d) {
      if (turns == 0 || dealt[d] == most[d]) continue;
      ++dealt[d];
      --turns;
      more = true;
    }
  }
  return dealt;
}

TEST(PlanRows, EveryBudgetIsDealtAsIfTurnByTurn) {
  const std::vector<int64_t> most = {3, 1, 7, 2, 7, 0, 12};
  std::vector<int64_t> sizes;
  for (const int64_t turns : most) sizes.push_back(10 * turns + 1);
  for (int64_t turns = 1; turns <= 34; ++turns) {
    const std::vector<PlannedRow> rows =
        PlanRows(SizesOnly(sizes), Config(NON_OVERLAPPING, {10}, 10 * turns))
            .value();
    std::vector<int64_t> dealt(most.size());
    for (const Piece& piece : rows[0].pieces) ++dealt[piece.document];
    EXPECT_EQ(dealt, DealtOneByOne(most, turns)) << turns;
  }
}

// Turn by turn these are 23 thousand million steps.
TEST(PlanRows, ManyDocumentsAndALongOneAreDealtInSeconds) {
  std::vector<int64_t> sizes(100'000, 300);
  sizes.push_back(30'000'000);
  const SizesOnly documents(std::move(sizes));
  const auto start = std::chrono::steady_clock::now();
  const std::vector<PlannedRow> rows =
      PlanRows(documents, Config(NON_OVERLAPPING, {128})).value();
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  EXPECT_EQ(rows[0].num_counted(), 100'000 * 256 + 29'999'999 / 128 * 128);
  EXPECT_LT(seconds.count(), 10);
  RecordProperty("milliseconds", static_cast<int>(seconds.count() * 1e3));
}

}  // namespace
}  // namespace lextra
