// Mean scores by distance of documents that are spread over ranks, against
// those of a dense decoder.
#include "evaluator/resolution/attention_resolution.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "evaluator/resolution/attention_score_collector.h"
#include "evaluator/resolution/distance_means.h"
#include "tests/evaluator/scoring/dense_decoder.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::Layouts;
using testing::MakeMesh;
using testing::MaxDifference;
using testing::MeshOfThisRankAlone;
using testing::RandomTokens;
using testing::SmallEvaluation;
using testing::SmallModel;

// s [L, H, N] of documents by its definition: the mean over all visible pairs
// that are n apart, and all documents.
at::Tensor DenseMeans(const ModelConfig& model, const testing::Weights& weights,
                      const at::Tensor& tokens,
                      const LongDocumentScorer::Options& options,
                      int64_t length) {
  const testing::DenseMask mask = testing::DenseMaskOf(options.mask, length);
  std::vector<at::Tensor> scores;
  testing::DenseNll(model, weights, tokens.narrow(1, 0, length), mask, &scores);
  const at::Tensor means =
      at::full({model.num_layers(), model.num_heads(), length},
               -std::numeric_limits<double>::infinity(), at::kDouble);
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    for (int64_t n = 0; n < length; ++n) {
      const at::Tensor seen = mask.visible_TT.diagonal(-n);
      if (!seen.any().item<bool>()) continue;
      means[layer].select(1, n).copy_(
          scores[layer]
              .diagonal(-n, 2, 3)
              .index({at::indexing::Slice(), at::indexing::Slice(), seen})
              .mean(at::IntArrayRef({0, 2})));
    }
  }
  return means;
}

EvaluationConfig ResolutionConfig(int64_t length) {
  EvaluationConfig config = SmallEvaluation();
  config.add_masks(WINDOW);
  config.set_window_size(11);
  config.add_resolution_lengths(length);
  config.set_resolution_documents(3);
  return config;
}

// Position methods, and an xPos whose keys are rotated in pieces of 11.
std::vector<ModelConfig> Models() {
  std::vector<ModelConfig> models(4, SmallModel(FP64));
  models[1].set_position_encoding(ALIBI);
  models[2].set_position_encoding(NONE);
  models[3].set_xpos_gamma(1e-100);
  models[3].set_xpos_scale_base(4);
  return models;
}

// fp64, 1e-10.
TEST(MeasureResolution, EqualsADenseDecoderAtEveryLayout) {
  const at::Tensor tokens = RandomTokens(3, 80);
  const TensorDocuments documents(tokens, 50, {});
  for (const ModelConfig& model_config : Models()) {
    const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
    Transformer whole(model_config, alone->tensor());
    const testing::Weights weights = testing::WeightsOf(whole);
    for (const int64_t length : {5, 53}) {
      const EvaluationConfig config = ResolutionConfig(length);
      for (const MeshShape layout : Layouts()) {
        SCOPED_TRACE(testing::Name(layout) + " " + std::to_string(length));
        const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
        Transformer model(model_config, mesh->tensor());
        const std::vector<ResolutionRow> rows =
            MeasureResolution(model, *mesh, documents, config).value();
        ASSERT_EQ(rows.size(), 3u);
        for (const ResolutionRow& row : rows) {
          SCOPED_TRACE(row.mask.Text());
          const at::Tensor s =
              DenseMeans(model_config, weights, tokens,
                         ScorerOptions(row.mask, config), length);
          EXPECT_EQ(row.documents, 3);
          EXPECT_EQ(row.length, length);
          EXPECT_LT(MaxDifference(row.resolution_LH, AttentionResolution(s)),
                    1e-10);
          EXPECT_LT(MaxDifference(row.mean_scores_LN,
                                  s.mean(1).index_select(
                                      1, at::tensor(row.distances, at::kLong))),
                    1e-9);
          const int64_t visible = s[0][0].isfinite().sum().item<int64_t>();
          EXPECT_EQ(row.distances.back() < visible, true);
          const int64_t trained = model_config.training_length();
          EXPECT_EQ(row.spread.has_value(), visible >= trained + 2);
          if (row.spread) {
            EXPECT_NEAR(*row.spread,
                        s.narrow(2, trained, visible - trained)
                            .std(2, false)
                            .mean()
                            .item<double>(),
                        1e-9);
          }
        }
      }
    }
  }
}

TEST(MeasureResolution, RefusesALengthThatNoDocumentHas) {
  const TensorDocuments documents(RandomTokens(2, 50), 50, {});
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(Layouts().back());
  Transformer model(SmallModel(FP32), mesh->tensor());
  const absl::Status status =
      MeasureResolution(model, *mesh, documents, ResolutionConfig(50)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
}

}  // namespace
}  // namespace lextra
