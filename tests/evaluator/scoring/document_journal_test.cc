// An evaluation that continues where another stopped.
#include "evaluator/scoring/document_journal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/io/files.h"
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
    row.tokens_per_second = std::nullopt;
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
                         .nll_sink =
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
    DocumentJournal all =
        DocumentJournal::Open(folder, "this model", *mesh).value();
    for (const ResultRow& row :
         Evaluate(model, *mesh, documents, config, {.journal = &all}).value()) {
      EXPECT_EQ(row.tokens_per_second, std::nullopt);
    }
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

std::string Read(const std::string& path) {
  return ReadFile(path, 1 << 20).value();
}

// One folder for all ranks, with a mesh whose ranks are data coordinates.
class JournalFolderTest : public ::testing::Test {
 protected:
  JournalFolderTest()
      : mesh_(MakeMesh({.data = testing::Session().size()})),
        folder_(BroadcastText(mesh_->world(), own_.path(), 0)) {}
  ~JournalFolderTest() override { mesh_->world().Barrier(); }

  DocumentJournal Open(const std::string& subject) {
    return DocumentJournal::Open(folder_, subject, *mesh_).value();
  }
  std::string Mine() const {
    return folder_ + "/documents-" + std::to_string(mesh_->data().rank()) +
           ".jsonl";
  }
  // On rank 0, before all continue.
  void Write(const std::string& name, const std::string& text) {
    if (mesh_->world().rank() == 0) {
      EXPECT_TRUE(AtomicWrite(folder_ + "/" + name, text).ok());
    }
    mesh_->world().Barrier();
  }
  JournalEntry Entry(double nll) const {
    return {.row = "a row",
            .document = mesh_->data().rank(),
            .pieces = 7,
            .seconds = 1,
            .sums = {{.bin = 0, .nll = nll, .tokens = 3}}};
  }
  double NllIn(const DocumentJournal& journal, int64_t document = 0) const {
    const JournalEntry* entry = journal.Find("a row", document, 7);
    return entry == nullptr ? -1 : entry->sums[0].nll;
  }

  const testing::TemporaryFolder own_;
  std::unique_ptr<DeviceMesh> mesh_;
  std::string folder_;
};

TEST_F(JournalFolderTest, LinesOfAnotherSubjectAreNeitherTakenNorLost) {
  // Two that run at the same time: whoever comes second removes the first's
  // files, and the first writes on.
  DocumentJournal first = Open("step 30");
  first.Append({Entry(30)});
  mesh_->world().Barrier();
  DocumentJournal second = Open("step 40");
  EXPECT_EQ(second.size(), 0);
  second.Append({Entry(40)});
  JournalEntry more = Entry(31);
  more.document += 100;
  first.Append({more});
  mesh_->world().Barrier();
  for (int i = 0; i < 2; ++i) {
    const DocumentJournal of_40 = Open("step 40");
    EXPECT_EQ(of_40.size(), mesh_->data().size());
    EXPECT_EQ(NllIn(of_40), 40);
    DocumentJournal of_30 = Open("step 30");
    EXPECT_EQ(of_30.size(), 2 * mesh_->data().size());
    EXPECT_EQ(NllIn(of_30), 30);
    EXPECT_EQ(NllIn(of_30, 100), 31);
    ASSERT_TRUE(of_30.Finish().ok());
  }
}

TEST_F(JournalFolderTest, FilesThatAreNotOursStay) {
  const std::string mine = "{\"text\": \"a document of 2023\"}\n";
  Write("documents-2023.jsonl", mine);
  Write("documents-a.jsonl", mine);
  Write("documents-01.jsonl", "");
  if (mesh_->world().rank() == 0) {
    EXPECT_TRUE(MakeNewFolder(folder_ + "/documents-2024.jsonl").ok());
  }
  mesh_->world().Barrier();
  DocumentJournal journal = Open("a step");
  journal.Append({Entry(1)});
  ASSERT_TRUE(journal.Finish().ok());
  EXPECT_EQ(Read(folder_ + "/documents-2023.jsonl"), mine);
  EXPECT_EQ(Read(folder_ + "/documents-a.jsonl"), mine);
  EXPECT_EQ(Read(folder_ + "/documents-01.jsonl"), "");
  EXPECT_FALSE(ReadFile(Mine(), 1).ok());
  EXPECT_EQ(Open("a step").size(), mesh_->data().size());
  // One in the place of a file that would be written.
  for (const std::string name : {"documents-0.jsonl", "documents.jsonl"}) {
    const std::string before = Read(folder_ + "/documents.jsonl");
    mesh_->world().Barrier();
    Write(name, mine);
    const absl::Status refused =
        DocumentJournal::Open(folder_, "a step", *mesh_).status();
    EXPECT_EQ(ExitCodeOf(refused), ExitCode::kUsage) << refused;
    EXPECT_EQ(Read(folder_ + "/" + name), mine);
    mesh_->world().Barrier();
    if (mesh_->world().rank() == 0) {
      EXPECT_TRUE(RemoveTree(folder_ + "/documents-0.jsonl").ok());
    }
    Write("documents.jsonl", before);
  }
}

TEST_F(JournalFolderTest, WhatAKillLeavesOfAFirstLineIsOurs) {
  for (const std::string text : {"", "{\"subject\":\"a st"}) {
    Write("documents-0.jsonl", text);
    DocumentJournal journal = Open("a step");
    EXPECT_FALSE(ReadFile(folder_ + "/documents-0.jsonl", 100).ok());
    mesh_->world().Barrier();
    journal.Append({Entry(1)});
    ASSERT_TRUE(journal.Finish().ok());
    EXPECT_EQ(NllIn(Open("a step")), 1);
  }
}

}  // namespace
}  // namespace lextra
