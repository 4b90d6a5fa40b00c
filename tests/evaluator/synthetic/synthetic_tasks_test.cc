#include "evaluator/synthetic/synthetic_tasks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/byte_tokenizer.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "evaluator/synthetic/synthetic_trials.h"
#include "model/attention/attention.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::Layouts;
using testing::LayoutsOfOneDocument;
using testing::MakeMesh;
using testing::MeshOfThisRankAlone;
using testing::SmallEvaluation;
using testing::SmallModel;

std::string TextOf(const std::vector<int64_t>& tokens) {
  return {tokens.begin(), tokens.end()};
}

TEST(PasskeyTrial, StatesTheKeyAtItsDepthAndAsksForItAtTheEnd) {
  const std::vector<int64_t> filler(400, '.');
  for (const double depth : {0.0, 0.5, 1.0}) {
    const SyntheticTrial trial = PasskeyTrial(300, depth, filler, 7);
    ASSERT_EQ(trial.tokens.size(), 300u);
    EXPECT_EQ(trial.first_answer, 295);
    const std::string text = TextOf(trial.tokens);
    const std::string key = text.substr(295);
    const size_t stated = text.find("The pass key is " + key + ". Remember");
    const size_t asked = text.find("What is the pass key? The pass key is ");
    ASSERT_NE(stated, std::string::npos) << text;
    EXPECT_EQ(asked + 38, 295u);
    // 300 less both sentences and the key leave 219 of filler.
    EXPECT_NEAR(static_cast<double>(stated) - 1, depth * 219, 1);
  }
  EXPECT_NE(PasskeyTrial(300, 0, filler, 8).tokens,
            PasskeyTrial(300, 0, filler, 7).tokens);
}

TEST(InductionTrial, EndsWithTheBytesThatItBeginsWith) {
  const std::vector<int64_t> filler(400, '.');
  const SyntheticTrial trial = InductionTrial(200, filler, 3);
  ASSERT_EQ(trial.tokens.size(), 200u);
  const std::string text = TextOf(trial.tokens);
  EXPECT_EQ(text.substr(0, 16), text.substr(184));
  EXPECT_EQ(std::set<char>(text.begin(), text.begin() + 16).size(), 16u);
  EXPECT_EQ(trial.first_answer, 185);
}

// At every layout 1 just where the target has the largest logit of a model that
// is not split.
TEST(Hits, AreWhereTheTargetIsTheMostLikely) {
  const ModelConfig config = SmallModel(FP64);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  const auto positions = MakePositionEncoding(config, kBlock);
  CausalAttention attention(*positions, whole.num_kv_heads());
  const at::NoGradGuard no_gradients;
  const at::Tensor tokens = testing::RandomTokens(3, 60);
  const at::Tensor best =
      whole.cross_entropy()
          .Logits(whole(tokens.narrow(1, 0, 59), attention).flatten(0, 1))
          .argmax(1)
          .view({3, 59});
  const at::Tensor targets = tokens.narrow(1, 1, 59);
  const at::Tensor expected = targets.eq(best).to(at::kDouble);
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config, mesh->tensor());
    LongDocumentScorer scorer(model, *mesh,
                              {.segment_tokens = 24, .top1 = true});
    EXPECT_EQ(testing::MaxDifference(scorer.Score(tokens), expected), 0);
  }
  EXPECT_GT(expected.sum().item<double>(), 0);
}

const ByteTokenizer kByte;

EvaluationConfig TaskConfig() {
  EvaluationConfig config = SmallEvaluation();
  config.add_passkey_lengths(120);
  config.add_induction_lengths(100);
  config.set_synthetic_trials(7);
  return config;
}

ModelConfig ByteModel() {
  ModelConfig model = SmallModel(FP64);
  model.set_vocab_size(257);
  model.set_pad_vocab_to_multiple_of(128);
  return model;
}

TEST(RunSyntheticTasks, CountsTheSameAnswersAtEveryLayout) {
  at::manual_seed(5);
  const TensorDocuments documents(at::randint(32, 127, {4, 200}, at::kLong),
                                  257, {});
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(ByteModel(), alone->tensor());
  const std::vector<SyntheticRow> expected =
      RunSyntheticTasks(whole, *alone, documents, &kByte, TaskConfig()).value();
  ASSERT_EQ(expected.size(), 2u * (5 + 1));
  EXPECT_EQ(expected[0].trials, 7);
  EXPECT_EQ(expected[5].trials, 7 * 15);
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(ByteModel(), mesh->tensor());
    const std::vector<SyntheticRow> rows =
        RunSyntheticTasks(model, *mesh, documents, &kByte, TaskConfig())
            .value();
    ASSERT_EQ(rows.size(), expected.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].correct, expected[i].correct) << i;
    }
  }
}

TEST(RunSyntheticTasks, LogitsThatAreNotFiniteAreAnErrorAndNoWrongAnswer) {
  const TensorDocuments documents(at::full({2, 200}, 65, at::kLong), 257, {});
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(ByteModel(), mesh->tensor());
  for (Parameter* parameter : model.parameters()) {
    if (parameter->pieces[0].name != "layer_norm.bias") continue;
    parameter->leaf.detach().fill_(std::nan(""));
  }
  const absl::Status status =
      RunSyntheticTasks(model, *mesh, documents, &kByte, TaskConfig()).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kNumeric);
  EXPECT_NE(status.message().find("passkey causal at 120: logits are not"),
            std::string::npos)
      << status;
}

TEST(RunSyntheticTasks, RefusesOtherTokenizersAndShortDocuments) {
  const TensorDocuments documents(at::full({2, 90}, 65, at::kLong), 257, {});
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(ByteModel(), mesh->tensor());
  EXPECT_EQ(ExitCodeOf(RunSyntheticTasks(model, *mesh, documents,
                                         /*tokenizer=*/nullptr, TaskConfig())
                           .status()),
            ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(
                RunSyntheticTasks(model, *mesh, documents, &kByte, TaskConfig())
                    .status()),
            ExitCode::kInput);
}

}  // namespace
}  // namespace lextra
