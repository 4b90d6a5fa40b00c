// Every mask and every position method through the ranks against a dense
// decoder that knows a mask as one matrix, in fp64.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "evaluator/scoring/long_document_scorer.h"
#include "tests/evaluator/scoring/dense_decoder.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::LayoutsOfOneDocument;
using testing::MakeMesh;
using testing::MaxDifference;
using testing::MeshOfThisRankAlone;
using testing::RandomTokens;
using testing::SmallModel;
using Options = LongDocumentScorer::Options;

// Segments of 24 tokens: windows of one key, of less than a segment, of one, of
// one more, of three and a bit, and beyond the document.
constexpr int64_t kSegment = 3 * kBlock;
constexpr int64_t kWindows[] = {1, 2, 7, 24, 25, 79, 400};

std::vector<Options> AllMasks() {
  std::vector<Options> masks = {
      {.mask = {}, .segment_tokens = kSegment},
      {.mask = {.kind = BCA, .block = kBlock}, .segment_tokens = kSegment},
      {.mask = {.kind = BCA, .block = 5}, .segment_tokens = kSegment}};
  for (const int64_t window : kWindows) {
    masks.push_back({.mask = {.kind = WINDOW, .window = window},
                     .segment_tokens = kSegment});
    for (const int64_t sinks : {1, 4}) {
      if (sinks > window) continue;
      masks.push_back(
          {.mask = {.kind = WINDOW_AND_SINKS, .window = window, .sinks = sinks},
           .segment_tokens = kSegment});
    }
  }
  return masks;
}

std::string Name(const Options& options) { return options.mask.Text(); }

ModelConfig ModelOf(PositionMethod method) {
  ModelConfig model = SmallModel(FP64);
  model.set_position_encoding(method);
  model.set_training_length(128);  // LEARNED has as many rows
  return model;
}

// `documents` of each of `sizes`, under every mask at every layout: every
// place, ragged ends included. fp64, 1e-10 nats.
void ExpectDenseNll(const ModelConfig& config, int64_t documents,
                    const std::vector<int64_t>& sizes) {
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  const testing::Weights weights = testing::WeightsOf(whole);
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config, mesh->tensor());
    for (const Options& options : AllMasks()) {
      for (const int64_t size : sizes) {
        SCOPED_TRACE(absl::StrFormat(
            "%s, %s, %s, %d x %d tokens",
            PositionMethod_Name(config.position_encoding()),
            testing::Name(layout), Name(options), documents, size));
        const at::Tensor tokens = RandomTokens(documents, size);
        const at::Tensor expected = testing::DenseNll(
            config, weights, tokens, testing::DenseMaskOf(options.mask, size));
        LongDocumentScorer scorer(model, *mesh, options);
        EXPECT_LT(MaxDifference(scorer.Score(tokens), expected), 1e-10);
      }
    }
  }
}

TEST(Masks, EqualADenseMaskAtEveryPlaceAndLayout) {
  ExpectDenseNll(ModelOf(XPOS), 1, {2, 8, 25, 26, 30, 101});
  ExpectDenseNll(ModelOf(XPOS), 3, {7, 53});
}

TEST(Masks, EqualADenseMaskWithEveryPositionMethod) {
  for (const PositionMethod method : {ROPE, NONE, ALIBI, SINUSOIDAL, LEARNED}) {
    ExpectDenseNll(ModelOf(method), 2, {61});
  }
}

// The fastest pair fades so quickly that keys are rotated in pieces of 11, even
// in fp64; the other pairs reach far.
TEST(Masks, EqualADenseMaskWhereKeysAreInSeveralPieces) {
  ModelConfig config = ModelOf(XPOS);
  config.set_xpos_gamma(1e-100);
  config.set_xpos_scale_base(4);
  ExpectDenseNll(config, 1, {101});
}

// A window that is wider than factors reach, on short documents. fp32, 1e-5.
TEST(Masks, AWideWindowOfAShortDocumentIsCausal) {
  ModelConfig config = ModelOf(XPOS);
  config.set_precision(FP32);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer model(config, alone->tensor());
  const at::Tensor tokens = RandomTokens(1, 150);
  const at::Tensor expected = testing::DenseNll(
      config, testing::WeightsOf(model), tokens, testing::DenseMaskOf({}, 150));
  for (const int64_t window : {72000, 73000, 100000, 1 << 30}) {
    for (const int64_t sinks : {0, 4}) {
      LongDocumentScorer scorer(
          model, *alone,
          {.mask = {.kind = sinks > 0 ? WINDOW_AND_SINKS : WINDOW,
                    .window = window,
                    .sinks = sinks},
           .segment_tokens = kSegment});
      EXPECT_LT(testing::RelativeDifference(scorer.Score(tokens), expected),
                1e-5)
          << window << " sinks " << sinks;
    }
  }
}

// fp32: 1e-6 relative to one rank that holds all.
TEST(Masks, AreIndependentOfRanks) {
  const ModelConfig config = SmallModel(FP32);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  const at::Tensor tokens = RandomTokens(2, 150);
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config, mesh->tensor());
    for (const Options& options : AllMasks()) {
      SCOPED_TRACE(testing::Name(layout) + ", " + Name(options));
      Options at_once = options;
      at_once.segment_tokens = 1 << 20;
      const double expected = LongDocumentScorer(whole, *alone, at_once)
                                  .Score(tokens)
                                  .mean()
                                  .item<double>();
      EXPECT_NEAR(LongDocumentScorer(model, *mesh, options)
                          .Score(tokens)
                          .mean()
                          .item<double>() /
                      expected,
                  1, 1e-6);
    }
  }
}

}  // namespace
}  // namespace lextra
