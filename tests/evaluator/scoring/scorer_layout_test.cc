// Layouts that take more ranks than the other tests have: sequence 3 and 4 with
// tensor 2.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "evaluator/scoring/long_document_scorer.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::Session;

// fp32, 1e-5 nats.
TEST(LongDocumentScorer, EqualsOneRankWithTensorTwo) {
  const ModelConfig config = testing::SmallModel(FP32);
  const std::unique_ptr<DeviceMesh> alone = testing::MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  const std::unique_ptr<DeviceMesh> mesh =
      testing::MakeMesh({.context = Session().size() / 2, .tensor = 2});
  Transformer model(config, mesh->tensor());
  for (const int64_t size : {int64_t{2}, kBlock + 1, kBlock + 2, 11 * kBlock}) {
    for (const Mask mask : {CAUSAL, BCA}) {
      SCOPED_TRACE(absl::StrFormat("%d tokens, %s", size, Mask_Name(mask)));
      const at::Tensor tokens = testing::RandomTokens(2, size);
      LongDocumentScorer reference(
          whole, *alone,
          {.mask = MaskOf(mask, testing::SmallEvaluation()),
           .segment_tokens = 1 << 20});
      LongDocumentScorer scorer(
          model, *mesh,
          {.mask = MaskOf(mask, testing::SmallEvaluation()),
           .segment_tokens = 2 * kBlock});
      EXPECT_LT(
          testing::MaxDifference(scorer.Score(tokens), reference.Score(tokens)),
          1e-5);
    }
  }
}

}  // namespace
}  // namespace lextra
