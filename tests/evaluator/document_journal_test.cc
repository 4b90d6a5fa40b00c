// An evaluation that goes on where another stopped.
#include "evaluator/document_journal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "evaluator/evaluation.h"
#include "parallel/agreement.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::Layouts;
using testing::MakeMesh;
using testing::RandomTokens;
using testing::SmallEvaluation;
using testing::SmallModel;

std::vector<ResultRow> WithoutSpeed(std::vector<ResultRow> rows) {
  for (ResultRow& row : rows) {
    row.tokens_per_second = 0;
    row.peak_memory_bytes = 0;
  }
  return rows;
}

std::string Json(const std::vector<ResultRow>& rows) {
  return ResultsJson({.rows = WithoutSpeed(rows)}, {});
}

// Leaves half of a journal's lines, the last of them cut off.
void CutOff(const std::string& path) {
  const std::string text = ReadFile(path, 1 << 20).value();
  ASSERT_TRUE(AtomicWrite(path, text.substr(0, text.size() / 2)).ok());
}

TEST(DocumentJournal,
     WhatAJournalHasIsNotScoredAgainAndTheResultsHaveTheSameBits) {
  const at::Tensor tokens = RandomTokens(6, 9 * kBlock + 5);
  const TensorDocuments documents(tokens, 50, {});
  EvaluationConfig config = SmallEvaluation();
  config.add_protocols(SAME_TARGETS);
  config.set_stride(5);
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    const std::string whole =
        Json(Evaluate(model, *mesh, documents, config).value());
    const testing::TemporaryFolder own;
    const std::string folder = BroadcastText(mesh->world(), own.path(), 0);
    const auto evaluate = [&](int64_t* num_taken) {
      DocumentJournal journal =
          DocumentJournal::Open(folder, "this model", *mesh).value();
      const std::string json =
          Json(Evaluate(model, *mesh, documents, config,
                        {.journal = &journal,
                         .take =
                             [&](int64_t, int64_t, const at::Tensor& nll) {
                               *num_taken += nll.size(0);
                             }})
                   .value());
      return json;
    };
    int64_t first = 0;
    EXPECT_EQ(evaluate(&first), whole);
    EXPECT_GT(first, 0);
    // Half of the lines, and one of them cut off: as a kill leaves them.
    mesh->world().Barrier();
    if (mesh->world().rank() == 0) CutOff(folder + "/documents-0.jsonl");
    mesh->world().Barrier();
    int64_t second = 0;
    EXPECT_EQ(evaluate(&second), whole);
    int64_t third = 0;
    EXPECT_EQ(evaluate(&third), whole);
    EXPECT_EQ(third, 0);
    const at::Tensor counts = at::tensor({first, second}, at::kLong);
    mesh->world().AllReduce(counts, ReduceOp::kSum);
    EXPECT_GT(counts[1].item<int64_t>(), 0);
    EXPECT_LT(counts[1].item<int64_t>(), counts[0].item<int64_t>());
    DocumentJournal other =
        DocumentJournal::Open(folder, "another model", *mesh).value();
    EXPECT_EQ(other.size(), 0);
    mesh->world().Barrier();
  }
}

}  // namespace
}  // namespace lextra
