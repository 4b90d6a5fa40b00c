// Attention over documents that are spread over the context axis.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "model/attention/attention.h"
#include "model/attention/piecewise_attention.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::CausalMask;
using testing::DensePacked;
using testing::FromBlocks;
using testing::HeadsConfig;
using testing::MakeMesh;
using testing::MaxDifference;
using testing::Random;
using testing::RelativeDifference;
using testing::ScoresByDistance;
using testing::Session;
using testing::ToBlocks;

std::unique_ptr<DeviceMesh> SequenceMesh() {
  return MakeMesh({.data = 1, .context = Session().size(), .tensor = 1});
}

// `documents` documents of 4 heads over 2, in `num_segments` segments of
// `blocks` blocks, in rounds: each rank's rows equal those of one rank that
// holds everything. fp64, 1e-13.
void ExpectRoundsEqualOneRank(int64_t documents, int64_t num_segments,
                              int64_t blocks) {
  SCOPED_TRACE(::testing::Message()
               << documents << " documents, " << num_segments << " segments of "
               << blocks << " blocks");
  constexpr int64_t kBlock = 5;
  constexpr int64_t kLayers = 2;
  const at::NoGradGuard no_gradients;
  const ModelConfig model = HeadsConfig(4, 2, 8, XPOS, FP64);
  const auto positions = MakePositionEncoding(model, kBlock);
  const auto mesh = SequenceMesh();
  HaloExchange halo(mesh->context(), kLayers);
  SinkRelay sinks(mesh->context(), kLayers);
  BlockwiseCausalAttention whole(*positions, 2, documents);
  const int64_t segment_rows = blocks * documents;

  std::vector<at::Tensor> qkv;
  std::vector<at::Tensor> expected;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    qkv.push_back(Random({num_segments * segment_rows, kBlock, 8, 8}, layer));
    expected.push_back(whole(layer, qkv.back().clone()));
  }
  halo.BeginDocument(num_segments, /*reach=*/1);
  const int64_t num_ranks = mesh->context().size();
  for (int64_t round = 0; round * num_ranks < num_segments; ++round) {
    halo.BeginRound(round);
    if (halo.segment() >= num_segments) continue;
    SegmentAttention spread(*positions, 2,
                            {.mask = {.block = kBlock},
                             .num_documents = documents,
                             .first_block = halo.segment() * blocks,
                             .reach = 1,
                             .tail_blocks = 1},
                            halo, sinks);
    const int64_t first = halo.segment() * segment_rows;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const at::Tensor out =
          spread(layer, qkv[layer].narrow(0, first, segment_rows).clone());
      EXPECT_LE(
          MaxDifference(out, expected[layer].narrow(0, first, segment_rows)),
          1e-13);
    }
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(SegmentAttention, RoundsEqualOneRank) {
  for (const int64_t documents : {1, 2}) {
    for (const int64_t num_segments : {1, 2, 3, 5, 9}) {
      for (const int64_t blocks : {1, 3}) {
        ExpectRoundsEqualOneRank(documents, num_segments, blocks);
      }
    }
  }
}

// The last block of a document whose window holds 100,000 keys, which the
// segment before hands on. fp32 against fp64, 1e-5.
TEST(SegmentAttention, AWindowOfAHundredThousandKeysIsExact) {
  constexpr int64_t kBlock = 2048;
  constexpr int64_t kWindow = 100'000;
  constexpr int64_t kSize = 8;
  const at::NoGradGuard no_gradients;
  const BlockMask mask = {.block = kBlock, .window = kWindow};
  const int64_t before = mask.Reach() * kBlock;
  const ModelConfig model = HeadsConfig(1, 1, kSize, XPOS, FP32);
  const auto positions = MakePositionEncoding(model, kWindow / 2);
  const at::Tensor qkv_TED =
      Random({before + kBlock, 3, kSize}, 1).to(at::kFloat);
  const auto mesh = SequenceMesh();
  HaloExchange halo(mesh->context(), 1);
  SinkRelay sinks(mesh->context(), 1);
  halo.BeginDocument(/*num_segments=*/2, /*reach=*/1);
  for (int64_t round = 0; round * mesh->context().size() < 2; ++round) {
    halo.BeginRound(round);
    if (halo.segment() == 0) {
      const at::Tensor tail_2RhKD = qkv_TED.narrow(0, 0, before)
                                        .narrow(1, 1, 2)
                                        .reshape({-1, kBlock, 2, 1, kSize})
                                        .permute({2, 0, 1, 3, 4})
                                        .contiguous();
      RotateKeys(*positions, tail_2RhKD[0]);
      halo.Start(0, tail_2RhKD);
      halo.Finish(0);
    } else if (halo.segment() == 1) {
      SegmentAttention last(*positions, 1,
                            {.mask = mask,
                             .num_documents = 1,
                             .first_block = mask.Reach(),
                             .reach = mask.Reach(),
                             .tail_blocks = mask.Reach()},
                            halo, sinks);
      const at::Tensor out =
          last(0, qkv_TED.narrow(0, before, kBlock).unsqueeze(0).clone())[0]
              .select(1, 0);
      for (const int64_t query : {int64_t{0}, kBlock - 1}) {
        const int64_t first_key = before + query - kWindow + 1;
        const at::Tensor exact = qkv_TED.to(at::kDouble);
        const at::Tensor seen = exact.narrow(0, first_key, kWindow);
        const at::Tensor scores = ScoresByDistance(
            model, exact.select(1, 0).narrow(0, before + query, 1),
            seen.select(1, 1), kWindow - 1);
        EXPECT_LE(
            RelativeDifference(out.narrow(0, query, 1),
                               at::mm(scores.softmax(1), seen.select(1, 2))),
            1e-5)
            << "query " << query;
      }
    }
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(SegmentAttention, RefusesGradients) {
  const ModelConfig model = HeadsConfig(1, 1, 4, XPOS, FP32);
  const auto positions = MakePositionEncoding(model, 2);
  const auto mesh = SequenceMesh();
  HaloExchange halo(mesh->context(), 1);
  SinkRelay sinks(mesh->context(), 1);
  SegmentAttention attention(*positions, 1,
                             {.mask = {.block = 2},
                              .num_documents = 1,
                              .first_block = 0,
                              .reach = 1,
                              .tail_blocks = 1},
                             halo, sinks);
  EXPECT_THROW(attention(0, at::zeros({1, 2, 3, 4}).requires_grad_(true) * 1),
               c10::Error);
  EXPECT_TRUE(mesh->Finalize().ok());
}

// This rank's chunks r and 2P-1-r of [B, 2 P chunk, ...].
at::Tensor OwnChunks(const at::Tensor& x, int64_t chunk, Communicator& axis) {
  return at::cat(
      {x.narrow(1, axis.rank() * chunk, chunk),
       x.narrow(1, (2 * axis.size() - 1 - axis.rank()) * chunk, chunk)},
      1);
}

// fp64, 1e-12 of the largest entry.
TEST(RingCausalAttention, EqualsADenseMask) {
  const at::NoGradGuard no_gradients;
  const auto mesh = SequenceMesh();
  Communicator& axis = mesh->context();
  for (const PositionMethod method : {XPOS, NONE, ALIBI}) {
    for (const int64_t chunk : {1, 7, 70}) {
      const ModelConfig model = HeadsConfig(4, 2, 8, method, FP64);
      const auto positions = MakePositionEncoding(model, 3);
      const int64_t length = 2 * axis.size() * chunk;
      const at::Tensor qkv = Random({2, length, 8, 8}, 1);
      const at::Tensor expected = DensePacked(qkv, model, CausalMask(length));
      RingCausalAttention ring(*positions, 2, axis);
      EXPECT_LE(RelativeDifference(ring(0, OwnChunks(qkv, chunk, axis)),
                                   OwnChunks(expected, chunk, axis)),
                1e-12)
          << PositionMethod_Name(method) << " chunk " << chunk;
    }
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

// Chunks longer than the pieces that keys are rotated in; against plain causal
// attention of one rank in fp64. fp64 1e-12, fp32 4e-6 of the largest entry.
TEST(RingCausalAttention, OfLongChunksEqualsOneRank) {
  const at::NoGradGuard no_gradients;
  const auto mesh = SequenceMesh();
  Communicator& axis = mesh->context();
  constexpr int64_t kChunk = 1100;
  const int64_t length = 2 * axis.size() * kChunk;
  const at::Tensor qkv = Random({1, length, 3, 8}, 1);
  const ModelConfig exact = HeadsConfig(1, 1, 8, XPOS, FP64);
  const auto positions = MakePositionEncoding(exact, length / 2);
  CausalAttention whole(*positions, 1);
  const at::Tensor expected = OwnChunks(whole(0, qkv.clone()), kChunk, axis);
  for (const Precision precision : {FP32, FP64}) {
    ModelConfig model = exact;
    model.set_precision(precision);
    const auto own = MakePositionEncoding(model, 128);
    RingCausalAttention ring(*own, 1, axis);
    const at::Tensor chunks =
        OwnChunks(qkv, kChunk, axis)
            .to(precision == FP64 ? at::kDouble : at::kFloat);
    EXPECT_LE(RelativeDifference(ring(0, chunks), expected),
              precision == FP64 ? 1e-12 : 4e-6);
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

// Root mean square error against fp64 at most twice that of one rank's
// attention in bf16, whose statistics are fp32 and whose outputs are rounded
// once.
TEST(RingCausalAttention, InBf16IsAsGoodAsOneRank) {
  const at::NoGradGuard no_gradients;
  const auto mesh = SequenceMesh();
  Communicator& axis = mesh->context();
  constexpr int64_t kChunk = 1100;
  const int64_t length = 2 * axis.size() * kChunk;
  const at::Tensor qkv = Random({1, length, 3, 8}, 1).to(at::kBFloat16);
  const auto positions =
      MakePositionEncoding(HeadsConfig(1, 1, 8, XPOS, FP32), length / 2);
  const auto exact_positions =
      MakePositionEncoding(HeadsConfig(1, 1, 8, XPOS, FP64), length / 2);
  CausalAttention exact(*exact_positions, 1);
  const at::Tensor expected = exact(0, qkv.to(at::kDouble));
  const auto error = [](const at::Tensor& a, const at::Tensor& b) {
    return (a.to(at::kDouble) - b).square().mean().sqrt().item<double>();
  };
  CausalAttention whole(*positions, 1);
  RingCausalAttention ring(*positions, 1, axis);
  EXPECT_LE(error(ring(0, OwnChunks(qkv, kChunk, axis)),
                  OwnChunks(expected, kChunk, axis)),
            2 * error(whole(0, qkv.clone()), expected));
  EXPECT_TRUE(mesh->Finalize().ok());
}

}  // namespace
}  // namespace lextra
