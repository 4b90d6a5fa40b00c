// NLL through the ranks against a dense decoder, one rank, and the public
// implementation.
#include "evaluator/scoring/long_document_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/io/files.h"
#include "model/torchscale_adapter.h"
#include "tests/evaluator/scoring/dense_decoder.h"
#include "tests/evaluator/small_model.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::kBlock;
using testing::LayoutsOfOneDocument;
using testing::MakeMesh;
using testing::MaxDifference;
using testing::MeshOfThisRankAlone;
using testing::RandomTokens;
using testing::Session;
using testing::SmallModel;

constexpr int64_t kDocumentSizes[] = {2,               // one target
                                      kBlock - 2,      // less than a block
                                      kBlock,          // a block of tokens
                                      kBlock + 1,      // a block of inputs
                                      kBlock + 2,      // one more
                                      2 * kBlock + 1,  // two blocks of inputs
                                      5 * kBlock - 2,  // a ragged last block
                                      12 * kBlock + 4};

LongDocumentScorer::Options OptionsFor(Mask mask, int64_t segment_tokens) {
  return {.mask = MaskOf(mask, testing::SmallEvaluation()),
          .segment_tokens = segment_tokens};
}

// Calls check(document size, documents, mask, segment tokens) for all of them.
template <typename Check>
void ForEachCase(Check check) {
  struct Load {
    int64_t documents;
    int64_t segment_tokens;
  };
  // Segments of one block, of three, and of two of three documents.
  for (const Load load :
       {Load{1, kBlock}, Load{1, 3 * kBlock + 1}, Load{3, 7 * kBlock}}) {
    for (const int64_t size : kDocumentSizes) {
      for (const Mask mask : {CAUSAL, BCA}) {
        SCOPED_TRACE(absl::StrFormat("%d x %d tokens, %s, segment %d",
                                     load.documents, size, Mask_Name(mask),
                                     load.segment_tokens));
        check(size, load.documents, mask, load.segment_tokens);
      }
    }
  }
}

// fp64, 1e-10 nats: rounding of two fp64 programs.
TEST(LongDocumentScorer, EqualsADenseMaskAtEveryLayout) {
  const ModelConfig config = SmallModel(FP64);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  const testing::Weights weights = testing::WeightsOf(whole);
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config, mesh->tensor());
    ForEachCase(
        [&](int64_t size, int64_t documents, Mask mask, int64_t segment) {
          const at::Tensor tokens = RandomTokens(documents, size);
          const at::Tensor expected = testing::DenseNll(
              config, weights, tokens,
              testing::DenseMaskOf(OptionsFor(mask, segment).mask, size));
          LongDocumentScorer scorer(model, *mesh, OptionsFor(mask, segment));
          EXPECT_LT(MaxDifference(scorer.Score(tokens), expected), 1e-10);
        });
  }
}

// fp32, 1e-5 nats.
TEST(LongDocumentScorer, EqualsOneRankAtEveryLayout) {
  const ModelConfig config = SmallModel(FP32);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer whole(config, alone->tensor());
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    SCOPED_TRACE(testing::Name(layout));
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(config, mesh->tensor());
    ForEachCase([&](int64_t size, int64_t documents, Mask mask,
                    int64_t segment) {
      const at::Tensor tokens = RandomTokens(documents, size);
      // A segment that holds the whole document: no rounds.
      LongDocumentScorer reference(whole, *alone, OptionsFor(mask, 1 << 20));
      LongDocumentScorer scorer(model, *mesh, OptionsFor(mask, segment));
      EXPECT_LT(MaxDifference(scorer.Score(tokens), reference.Score(tokens)),
                1e-5);
    });
  }
}

TEST(LongDocumentScorer, AllRanksTakeTheSameBits) {
  const at::Tensor tokens = RandomTokens(2, 77);
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    for (const Mask mask : {CAUSAL, BCA}) {
      SCOPED_TRACE(testing::Name(layout) + Mask_Name(mask));
      const at::Tensor nll =
          LongDocumentScorer(model, *mesh, OptionsFor(mask, kBlock))
              .Score(tokens);
      const at::Tensor of_rank_0 = nll.clone();
      mesh->world().Broadcast(of_rank_0, 0);
      EXPECT_TRUE(at::equal(nll, of_rank_0));
    }
  }
}

TEST(LongDocumentScorer, NoTokenAndOneTokenHaveNoTarget) {
  const std::unique_ptr<DeviceMesh> mesh =
      MakeMesh(LayoutsOfOneDocument().front());
  Transformer model(SmallModel(FP32), mesh->tensor());
  for (const Mask mask : {CAUSAL, BCA}) {
    LongDocumentScorer scorer(model, *mesh, OptionsFor(mask, kBlock));
    EXPECT_EQ(scorer.Score(RandomTokens(2, 0)).sizes(),
              at::IntArrayRef({2, 0}));
    EXPECT_EQ(scorer.Score(RandomTokens(2, 1)).sizes(),
              at::IntArrayRef({2, 0}));
    EXPECT_EQ(scorer.Score(RandomTokens(0, 9)).sizes(),
              at::IntArrayRef({0, 8}));
  }
}

TEST(LongDocumentScorer, EveryTargetComesOnceAndInOrder) {
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    ForEachCase(
        [&](int64_t size, int64_t documents, Mask mask, int64_t segment) {
          const at::Tensor tokens = RandomTokens(documents, size);
          int64_t next = 0;
          LongDocumentScorer(model, *mesh, OptionsFor(mask, segment))
              .Score(
                  documents, size,
                  [&](int64_t begin, const at::Tensor& out) {
                    out.copy_(tokens.narrow(1, begin, out.size(1)));
                  },
                  [&](int64_t first, const at::Tensor& nll) {
                    EXPECT_EQ(first, next);
                    EXPECT_EQ(nll.size(0), documents);
                    EXPECT_GT(nll.size(1), 0);
                    next += nll.size(1);
                  });
          EXPECT_EQ(next, size - 1);
        });
  }
}

// What is read and handed on at once depends on the segment alone.
TEST(LongDocumentScorer, HoldsOneSegmentOfADocumentOfAnyLength) {
  constexpr int64_t kSegment = 2 * kBlock;
  constexpr int64_t kTokens = 1000;
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    Transformer model(SmallModel(FP32), mesh->tensor());
    int64_t tokens_read = 0;
    LongDocumentScorer(model, *mesh, OptionsFor(BCA, kSegment))
        .Score(
            1, kTokens,
            [&](int64_t, const at::Tensor& out) {
              EXPECT_LE(out.size(1), kSegment + 1);
              tokens_read += out.size(1);
              out.fill_(7);
            },
            [&](int64_t, const at::Tensor& nll) {
              EXPECT_LE(nll.size(1), kSegment * layout.context);
            });
    // Its share, and one more token a segment: the target across the border.
    EXPECT_LE(tokens_read, (kTokens / layout.context + 2 * kSegment) *
                               (kSegment + 1) / kSegment);
  }
}

// 2 * B * h * num_kv_heads * head_dim elements a layer for every segment but
// the last, over all ranks.
TEST(LongDocumentScorer, SendsOneBlockOfKeysAndValuesALayerAndSegment) {
  for (const MeshShape layout : LayoutsOfOneDocument()) {
    for (const int64_t documents : {1, 3}) {
      for (const int64_t num_blocks : {1, 2, 7, 24}) {
        SCOPED_TRACE(absl::StrFormat("%s, %d x %d blocks",
                                     testing::Name(layout), documents,
                                     num_blocks));
        const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
        const ModelConfig config = SmallModel(FP32);
        Transformer model(config, mesh->tensor());
        const int64_t before = mesh->context().bytes_sent();
        // One block a segment.
        LongDocumentScorer(model, *mesh, OptionsFor(BCA, kBlock))
            .Score(RandomTokens(documents, num_blocks * kBlock + 1));
        const at::Tensor sent =
            at::full({1}, mesh->context().bytes_sent() - before, at::kLong);
        mesh->context().AllReduce(sent, ReduceOp::kSum);
        mesh->tensor().AllReduce(sent, ReduceOp::kSum);
        const int64_t message = 2 * documents * kBlock * config.num_kv_heads() *
                                config.head_dim() * sizeof(float);
        // A rank alone keeps its own.
        const int64_t borders = layout.context > 1 ? num_blocks - 1 : 0;
        EXPECT_EQ(sent.item<int64_t>(),
                  borders * message * config.num_layers());
      }
    }
  }
}

TEST(LongDocumentScorer, ShortDocumentsSpreadOverTheRanks) {
  const int size = Session().size();
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh({.context = size});
  Transformer model(SmallModel(FP32), mesh->tensor());
  int64_t tokens_read = 0;
  LongDocumentScorer(model, *mesh, OptionsFor(BCA, 1 << 20))
      .Score(
          1, 2 * size * kBlock + 1,
          [&](int64_t, const at::Tensor& out) {
            tokens_read += out.size(1);
            out.fill_(7);
          },
          [](int64_t, const at::Tensor&) {});
  EXPECT_EQ(tokens_read, 2 * kBlock + 1);
}

TEST(LongDocumentScorer, FillsASegmentWithShortDocuments) {
  const std::unique_ptr<DeviceMesh> mesh = MeshOfThisRankAlone();
  Transformer model(SmallModel(FP32), mesh->tensor());
  LongDocumentScorer blockwise(model, *mesh, OptionsFor(BCA, 8 * kBlock));
  LongDocumentScorer causal(model, *mesh, OptionsFor(CAUSAL, 8 * kBlock));
  EXPECT_EQ(blockwise.DocumentsAtOnce(3), 8);
  EXPECT_EQ(blockwise.DocumentsAtOnce(kBlock + 1), 8);
  EXPECT_EQ(blockwise.DocumentsAtOnce(kBlock + 2), 4);
  EXPECT_EQ(blockwise.DocumentsAtOnce(100 * kBlock), 1);
  EXPECT_EQ(causal.DocumentsAtOnce(kBlock + 1), 8);
  EXPECT_EQ(causal.DocumentsAtOnce(100 * kBlock), 1);
}

// A decoder of the public torchscale on this layout.
class GoldenDecoder {
 public:
  GoldenDecoder(const std::string& name, Precision precision,
                DeviceMesh& mesh) {
    const std::string json =
        ReadFile(testing::GoldenPath(name + ".json"), 1 << 20).value();
    ModelConfig config = TorchscaleConfig(json, name)->model();
    const NamedTensors weights =
        TorchscaleTensors(config, testing::Golden(name + "_weights")).value();
    config.set_precision(precision);
    block_ = config.training_length() / 2;
    model_ = std::make_unique<Transformer>(config, mesh.tensor());
    const at::NoGradGuard no_grad;
    for (Parameter* parameter : model_->parameters()) {
      for (const ShardedTensor& shard : parameter->Shards(
               parameter->leaf, {.tensor_rank = mesh.tensor().rank(),
                                .num_tensor = mesh.tensor().size()})) {
        at::Tensor part = weights.at(shard.name);
        for (size_t dim = 0; dim < shard.box.shape.size(); ++dim) {
          part = part.narrow(dim, shard.box.offset[dim], shard.box.shape[dim]);
        }
        shard.tensor.copy_(part);
      }
    }
  }

  at::Tensor Nll(DeviceMesh& mesh, Mask mask, const at::Tensor& tokens) {
    LongDocumentScorer scorer(
        *model_, mesh,
        {.mask = {.kind = mask, .block = mask == BCA ? block_ : 0},
         .segment_tokens = 2 * block_});
    return scorer.Score(tokens);
  }

 private:
  int64_t block_ = 0;
  std::unique_ptr<Transformer> model_;
};

at::Tensor NllOf(const at::Tensor& logits_BTV, const at::Tensor& tokens_BT) {
  const int64_t num_targets = tokens_BT.size(1) - 1;
  return logits_BTV.to(at::kDouble)
      .log_softmax(-1)
      .narrow(1, 0, num_targets)
      .gather(2, tokens_BT.narrow(1, 1, num_targets).unsqueeze(2))
      .squeeze(2)
      .neg();
}

// fp32: 1e-5 nats; fp64: 1e-12. The logits of the long causal pass are stored
// in fp32: 2e-5.
TEST(LongDocumentScorer, EqualsTorchscaleDecodersAtEveryLayout) {
  for (const std::string name : {"decoder_preln", "decoder_subln"}) {
    const NamedTensors io = testing::Golden(name + "_io");
    const at::Tensor& tokens_long = io.at("tokens_bca");
    for (const Precision precision : {FP32, FP64}) {
      const double tolerance = testing::kDocumentNll(precision);
      for (const MeshShape layout : LayoutsOfOneDocument()) {
        SCOPED_TRACE(absl::StrFormat("%s %s %s", name,
                                     Precision_Name(precision),
                                     testing::Name(layout)));
        const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
        GoldenDecoder decoder(name, precision, *mesh);
        EXPECT_LT(
            MaxDifference(decoder.Nll(*mesh, CAUSAL, io.at("tokens_plain")),
                          io.at("nll_plain")),
            tolerance);
        EXPECT_LT(MaxDifference(decoder.Nll(*mesh, BCA, tokens_long),
                                io.at("nll_bca")),
                  tolerance);
        EXPECT_LT(
            MaxDifference(decoder.Nll(*mesh, CAUSAL, tokens_long),
                          NllOf(io.at("logits_causal_long"), tokens_long)),
            2e-5);
      }
    }
  }
}

}  // namespace
}  // namespace lextra
