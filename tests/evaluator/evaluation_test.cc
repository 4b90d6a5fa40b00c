// Whole rows through the ranks.
#include "evaluator/evaluation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <map>

#include "evaluator/resolution/attention_resolution.h"
#include "evaluator/scoring/document_journal.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "evaluator/scoring/protocol.h"
#include "evaluator/scoring/row_scorer.h"
#include "nlohmann/json.hpp"
#include "parallel/agreement.h"
#include "tests/data/token_files.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::Layouts;
using testing::MakeMesh;
using testing::MeshOfThisRankAlone;
using testing::RandomTokens;
using testing::Session;
using testing::SmallEvaluation;
using testing::SmallModel;

// The mean of the NLL of all targets, each piece scored by itself.
double MeanByPieces(LongDocumentScorer& scorer, const at::Tensor& tokens,
                    const PlannedRow& row) {
  double sum = 0;
  int64_t count = 0;
  for (const Piece& piece : row.pieces) {
    const at::Tensor part = tokens.narrow(0, piece.document, 1)
                                .narrow(1, piece.begin, piece.num_targets + 1);
    sum += scorer.Score(part).sum().item<double>();
    count += piece.num_targets;
  }
  return sum / count;
}

// Every id but 7 stands for so many bytes.
TextMeasure BytesPerToken(int32_t bytes) {
  TextMeasure measure = {.bytes_of_id = std::vector<int32_t>(50, bytes)};
  measure.bytes_of_id[7] = 0;
  return measure;
}

// fp64, 1e-11 relative.
TEST(Evaluate, RowsAtEveryLayoutEqualPiecesScoredOneByOne) {
  const ModelConfig model_config = SmallModel(FP64);
  const EvaluationConfig config = SmallEvaluation();
  const at::Tensor tokens = RandomTokens(5, 9 * kBlock + 5);
  const TensorDocuments documents(tokens, 50, BytesPerToken(2));
  const std::vector<PlannedRow> rows = PlanRows(documents, config).value();
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(model_config, alone->tensor());
  std::vector<double> expected;
  for (const Mask mask : {CAUSAL, BCA}) {
    LongDocumentScorer one_by_one(
        whole, *alone, {.mask = MaskOf(mask, config), .segment_tokens = 1000});
    for (const PlannedRow& row : rows) {
      expected.push_back(MeanByPieces(one_by_one, tokens, row));
    }
  }
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(model_config, mesh->tensor());
    const std::vector<ResultRow> results =
        Evaluate(model, *mesh, documents, config).value();
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const ResultRow& result = results[i];
      SCOPED_TRACE(ResultLine(result));
      EXPECT_NEAR(result.nll / expected[i], 1, 1e-11);
      EXPECT_NEAR(result.perplexity / std::exp(expected[i]), 1, 1e-9);
      EXPECT_EQ(result.protocol, rows[i % rows.size()].protocol);
      EXPECT_EQ(result.length, rows[i % rows.size()].length);
      EXPECT_EQ(result.mask.mask.kind, i < rows.size() ? CAUSAL : BCA);
      EXPECT_EQ(result.documents, 5);
      EXPECT_EQ(result.mask.mask.block > 0, result.mask.mask.kind == BCA);
      EXPECT_GT(result.tokens_per_second, 0);
      EXPECT_GT(result.peak_memory_bytes, 1 << 20);
    }
  }
}

TEST(Evaluate, BitsPerByteCountEveryTargetButEos) {
  constexpr int64_t kTokens = 5000;  // more than are checked at once
  const at::Tensor tokens = RandomTokens(3, kTokens);
  const TensorDocuments documents(tokens, 50, BytesPerToken(3));
  EvaluationConfig config = SmallEvaluation();
  config.clear_protocols();
  config.add_protocols(STREAMING);
  config.clear_masks();
  config.add_masks(BCA);
  config.set_segment_tokens(2048);
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(SmallModel(FP32), mesh->tensor());
  const ResultRow row = Evaluate(model, *mesh, documents, config)->front();
  const double num_targets = 3 * (kTokens - 1);
  const double num_text =
      tokens.narrow(1, 1, kTokens - 1).ne(7).sum().item<double>();
  ASSERT_LT(num_text, num_targets);
  EXPECT_EQ(row.bytes, 3 * num_text);
  EXPECT_NEAR(row.bits_per_byte,
              row.nll * num_targets / std::log(2.0) / (3 * num_text), 1e-12);
}

// Three documents of ids below 50, none of which ends with eos. Where it is
// given, eos stands inside of them.
struct ForeignData {
  testing::TemporaryFolder folder;
  at::Tensor tokens;

  ForeignData(const std::string& tokenizer, int64_t eos_id, int64_t bytes)
      : tokens(RandomTokens(3, 200)) {
    tokens.select(1, 199).fill_(1);
    const at::Tensor flat = tokens.flatten();
    const std::vector<int64_t> ids(
        flat.const_data_ptr<int64_t>(),
        flat.const_data_ptr<int64_t>() + flat.numel());
    testing::WriteText(folder / "t.bin", testing::Tokens(ids, 2));
    testing::WriteText(folder / "t.idx",
                       testing::Index({200, 200, 200}, 2, 8).Bytes());
    testing::WriteText(folder / "t.meta.json",
                       nlohmann::json{{"tokenizer", tokenizer},
                                      {"tokenizer_sha256", ""},
                                      {"vocab_size", 50},
                                      {"eos_id", eos_id},
                                      {"documents", 3},
                                      {"tokens", 600},
                                      {"bytes", bytes}}
                           .dump());
  }

  // The one row of whole documents.
  ResultRow Score() const {
    const TokenDataset dataset = TokenDataset::Open(folder / "t").value();
    EvaluationConfig config = SmallEvaluation();
    config.clear_protocols();
    config.add_protocols(STREAMING);
    config.clear_masks();
    config.add_masks(BCA);
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
    Transformer model(SmallModel(FP32), mesh->tensor());
    return Evaluate(model, *mesh, DatasetDocuments(dataset), config,
                    {.averages_bytes = true})
        ->front();
  }

  // Targets, the first token of a document being none, that are not `eos`.
  double NumTextTargets(int64_t eos) const {
    return tokens.narrow(1, 1, 199).ne(eos).sum().item<double>();
  }
};

constexpr double kTargets = 3 * 199;

TEST(Evaluate, EveryByteThatIsNotEosIsOneByteWhereverDocumentsEnd) {
  // 1 closes documents and stands inside them; 49 is no token of theirs at all.
  for (const int64_t eos : {1, 49}) {
    SCOPED_TRACE(eos);
    ForeignData data("byte", eos, 600);
    if (eos == 49) {
      data.tokens.masked_fill_(data.tokens.eq(49), 48);
      testing::WriteText(
          data.folder / "t.bin",
          testing::Tokens(
              {data.tokens.const_data_ptr<int64_t>(),
               data.tokens.const_data_ptr<int64_t>() + data.tokens.numel()},
              2));
    }
    const double text = data.NumTextTargets(eos);
    EXPECT_EQ(text == kTargets, eos == 49);
    const ResultRow row = data.Score();
    EXPECT_EQ(row.tokens, kTargets);
    EXPECT_EQ(row.bytes, text);
    EXPECT_FALSE(row.bytes_are_average);
    EXPECT_NEAR(row.bits_per_byte, row.nll * kTargets / std::log(2.0) / text,
                1e-12);
  }
}

TEST(Evaluate, BytesOfAnUnknownTokenizerAreAnAverageThatSaysSo) {
  const ForeignData data("other", 1, 1800);
  const double average = 1800 / data.tokens.ne(1).sum().item<double>();
  const ResultRow row = data.Score();
  EXPECT_TRUE(row.bytes_are_average);
  EXPECT_NEAR(row.bytes, average * data.NumTextTargets(1), 1e-9);
  EXPECT_NEAR(row.bits_per_byte, row.nll * kTargets / std::log(2.0) / row.bytes,
              1e-12);
  // If the text was never counted, its bytes are unknown.
  const ResultRow unknown = ForeignData("other", 1, 0).Score();
  EXPECT_TRUE(std::isnan(unknown.bits_per_byte));
  EXPECT_FALSE(unknown.bytes_are_average);
}

// A model for which whatever has token 33 in sight is a NaN.
void BreakToken33(Transformer* model, Communicator& tensor_axis) {
  const at::NoGradGuard no_gradients;
  for (Parameter* parameter : model->parameters()) {
    if (parameter->pieces[0].name != "embed_tokens.weight") continue;
    const int64_t row = 33 - tensor_axis.rank() * parameter->leaf.size(0);
    if (row >= 0 && row < parameter->leaf.size(0)) {
      parameter->leaf[row].fill_(std::nan(""));
    }
  }
}

TEST(Evaluate, AnNllThatIsNotFiniteIsAnErrorThatNamesItAndKeepsTheOthers) {
  const at::Tensor tokens = RandomTokens(5, 9 * kBlock + 5);
  tokens.masked_fill_(tokens.eq(33), 32);
  tokens[2][20] = 33;
  tokens[3][7] = 33;
  const TensorDocuments documents(tokens, 50, {});
  ModelConfig untied = SmallModel(FP32);
  untied.set_tie_word_embeddings(false);
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(untied, mesh->tensor());
    BreakToken33(&model, mesh->tensor());
    const testing::TemporaryFolder own;
    const std::string folder = BroadcastText(mesh->world(), own.path(), 0);
    DocumentJournal journal =
        DocumentJournal::Open(folder, "this model", *mesh).value();
    const absl::Status status =
        Evaluate(model, *mesh, documents, SmallEvaluation(),
                 {.journal = &journal})
            .status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kNumeric);
    // Around a ring of ranks the query before the token is lost as well: its
    // weight of 0 times a NaN.
    EXPECT_THAT(std::string(status.message()),
                ::testing::ContainsRegex(
                    "non_overlapping causal at 10: the NLL of document 2 at "
                    "position 2[01] is not finite"));
    mesh->world().Barrier();
    EXPECT_EQ(DocumentJournal::Open(folder, "this model", *mesh)->size(), 3);
    mesh->world().Barrier();
  }
}

TEST(MeasureResolution, AScoreThatIsNotFiniteIsAnError) {
  const at::Tensor tokens = RandomTokens(2, 40);
  tokens[1][20] = 33;
  const TensorDocuments documents(tokens, 50, {});
  EvaluationConfig config = SmallEvaluation();
  config.add_resolution_lengths(32);
  config.set_resolution_documents(2);
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(SmallModel(FP32), mesh->tensor());
  BreakToken33(&model, mesh->tensor());
  const absl::Status status =
      MeasureResolution(model, *mesh, documents, config).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kNumeric);
  EXPECT_NE(status.message().find("resolution of causal at 32: the mean score "
                                  "of layer 0, head 0 at distance"),
            std::string::npos)
      << status;
}

// One long document, which one data coordinate scores while others wait.
TEST(Evaluate, ARateCountsEveryTokenOnceByTheTimeOfTheRow) {
  const at::Tensor tokens = RandomTokens(1, 4000);
  const TensorDocuments documents(tokens, 50, {});
  EvaluationConfig config = SmallEvaluation();
  config.clear_protocols();
  config.add_protocols(STREAMING);
  config.clear_masks();
  config.add_masks(BCA);
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    LongDocumentScorer scorer(
        model, *mesh,
        {.mask = {.kind = BCA, .block = kBlock}, .segment_tokens = 3 * kBlock});
    const PlannedRow row = PlanRows(documents, config).value().front();
    const auto start = std::chrono::steady_clock::now();
    mesh->world().Barrier();  // no rank starts before this one's clock
    const ScoredRow scores =
        ScoreRow(row, "row", documents, scorer, *mesh, nullptr, {});
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    EXPECT_EQ(scores.targets_scored, 3999);
    EXPECT_GT(scores.seconds, 0);
    EXPECT_LE(scores.seconds, seconds.count());
  }
}

TEST(Evaluate, HandsOutEveryTargetOfAPieceOnce) {
  const at::Tensor tokens = RandomTokens(7, 41);
  const TensorDocuments documents(tokens, 50, {});
  EvaluationConfig config = SmallEvaluation();
  config.clear_protocols();
  config.add_protocols(STREAMING);
  config.clear_masks();
  config.add_masks(BCA);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(SmallModel(FP32), alone->tensor());
  const at::Tensor expected =
      LongDocumentScorer(
          whole, *alone,
          {.mask = {.kind = BCA, .block = kBlock}, .segment_tokens = 1000})
          .Score(tokens);
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    const at::Tensor nll = at::zeros({7, 40}, at::kDouble);
    const auto take = [&](int64_t document, int64_t first,
                          const at::Tensor& nll_T) {
      nll.select(0, document).narrow(0, first, nll_T.size(0)).add_(nll_T);
    };
    ASSERT_TRUE(
        Evaluate(model, *mesh, documents, config, {.nll_sink = take}).ok());
    mesh->data().AllReduce(nll, ReduceOp::kSum);
    EXPECT_LT(testing::MaxDifference(nll, expected), 1e-5);
  }
}

// A model that has learned how often each token comes and nothing else:
// everything but the embedding is 0, so the last norm's bias is the hidden
// state h at every place, and the NLL of target t is log sum_v exp(E_v h) - E_t
// h. Returns it for every token id.
at::Tensor MakeUnigramModel(Transformer* model) {
  const at::NoGradGuard no_gradients;
  for (Parameter* parameter : model->parameters()) {
    const std::string& name = parameter->pieces[0].name;
    if (name == "layer_norm.bias") {
      parameter->leaf.fill_(0.25);
    } else if (name != "embed_tokens.weight") {
      parameter->leaf.zero_();
    }
  }
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(model->config(), alone->tensor());
  const at::Tensor logits =
      whole.parameters()[0]->leaf.narrow(0, 0, 50).sum(1) * 0.25;
  return logits.logsumexp(0) - logits;
}

// Of the targets that a row counts, by definition: fp64 sums over documents.
void ExpectClosedForm(const ResultRow& result, const PlannedRow& row,
                      const at::Tensor& tokens, const at::Tensor& nll_V) {
  std::map<int64_t, std::pair<double, int64_t>> by_document;
  double num_text = 0;
  for (const Piece& piece : row.pieces) {
    for (int64_t i = piece.num_context + 1; i <= piece.num_targets; ++i) {
      const auto target =
          tokens[piece.document][piece.begin + i].item<int64_t>();
      auto& [sum, count] = by_document[piece.document];
      sum += nll_V[target].item<double>();
      ++count;
      num_text += target != 7;
    }
  }
  double sum = 0;
  int64_t count = 0;
  for (const auto& [document, sums] : by_document) {
    sum += sums.first;
    count += sums.second;
  }
  double squares = 0;
  for (const auto& [document, sums] : by_document) {
    squares += std::pow(sums.first - sum / count * sums.second, 2);
  }
  const double documents = by_document.size();
  EXPECT_EQ(result.tokens, count);
  EXPECT_EQ(result.documents, documents);
  EXPECT_NEAR(result.nll, sum / count, 1e-12);
  EXPECT_NEAR(result.perplexity, std::exp(sum / count), 1e-10);
  EXPECT_NEAR(result.standard_error,
              std::sqrt(documents / (documents - 1) * squares) / count, 1e-12);
  EXPECT_NEAR(result.bits_per_byte, sum / std::log(2.0) / (2 * num_text),
              1e-12);
}

TEST(Evaluate, CountsWeightsAndErrorsAreThoseOfAModelInClosedForm) {
  const at::Tensor tokens = RandomTokens(4, 11 * kBlock + 3);
  const TensorDocuments documents(tokens, 50, BytesPerToken(2));
  EvaluationConfig config = SmallEvaluation();
  config.add_protocols(SLIDING);
  config.add_protocols(SAME_TARGETS);
  config.set_stride(6);
  config.add_lengths(7);
  const std::vector<PlannedRow> rows = PlanRows(documents, config).value();
  for (const MeshShape layout : Layouts()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP64), mesh->tensor());
    const at::Tensor nll_V = MakeUnigramModel(&model);
    const std::vector<ResultRow> results =
        Evaluate(model, *mesh, documents, config).value();
    ASSERT_EQ(results.size(), 2 * rows.size());
    for (size_t i = 0; i < results.size(); ++i) {
      SCOPED_TRACE(ResultLine(results[i]));
      ExpectClosedForm(results[i], rows[i % rows.size()], tokens, nll_V);
    }
    // No context helps this model: the same targets, the same numbers.
    for (size_t i = 1; i < rows.size(); ++i) {
      if (results[i].protocol != SAME_TARGETS) continue;
      if (results[i - 1].protocol != SAME_TARGETS) continue;
      EXPECT_NEAR(results[i].nll, results[i - 1].nll, 1e-13);
    }
  }
}

TEST(Evaluate, RefusesPlacesThatALearnedTableHasNot) {
  const TensorDocuments documents(RandomTokens(2, 100), 50, {});
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  ModelConfig learned = SmallModel(FP32);
  learned.set_position_encoding(LEARNED);
  Transformer model(learned, mesh->tensor());
  const absl::Status status =
      Evaluate(model, *mesh, documents, SmallEvaluation()).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_NE(status.message().find("model.position_encoding = LEARNED"),
            std::string::npos)
      << status;
}

TEST(Evaluate, RefusesAWrongIdOnAllRanksBeforeScoring) {
  const at::Tensor tokens = RandomTokens(2, 50);
  tokens[1][30] = 50;
  const TensorDocuments documents(tokens, 50, {});
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(SmallModel(FP32), mesh->tensor());
  const absl::Status status =
      Evaluate(model, *mesh, documents, SmallEvaluation()).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_NE(status.message().find("tokens[1, 30] = 50"), std::string::npos)
      << status;
}

}  // namespace
}  // namespace lextra
