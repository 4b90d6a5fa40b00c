#include "parallel/context_parallel/halo_exchange.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/context_parallel/sink_relay.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

constexpr int64_t kLayers = 3;

// A block whose numbers tell the segment and layer it comes from.
at::Tensor Block(int64_t document, int64_t segment, int64_t layer) {
  return at::arange(2 * 2 * 5, at::kFloat).view({2, 2, 5}) +
         static_cast<double>(document * 10000 + segment * 100 + layer);
}

class Halo : public ::testing::Test {
 protected:
  void RunDocument(HaloExchange& halo, int64_t document, int64_t num_segments,
                   int64_t reach) {
    const int64_t num_ranks = axis_->size();
    halo.BeginDocument(num_segments, reach);
    for (int64_t round = 0; round * num_ranks < num_segments; ++round) {
      halo.BeginRound(round);
      const int64_t segment = halo.segment();
      EXPECT_EQ(segment, round * num_ranks + axis_->rank());
      if (segment >= num_segments) continue;
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        halo.Start(layer, Block(document, segment, layer));
        const std::vector<at::Tensor> before = halo.Finish(layer);
        const int64_t count = std::min(reach, segment);
        ASSERT_EQ(std::ssize(before), count) << "segment " << segment;
        for (int64_t i = 0; i < count; ++i) {
          EXPECT_TRUE(
              before[i].equal(Block(document, segment - count + i, layer)));
        }
      }
    }
  }

  int64_t BytesSentByAll() {
    const at::Tensor bytes = at::full({1}, axis_->bytes_sent(), at::kLong);
    axis_->AllReduce(bytes, ReduceOp::kSum);
    return bytes.item<int64_t>();
  }

  const std::unique_ptr<Communicator> axis_ = testing::Session().World();
};

constexpr int64_t kMessageBytes = 2 * 2 * 5 * 4;

TEST_F(Halo, BringsTheLeftBlockAndOneMessageForEachBoundary) {
  HaloExchange halo(*axis_, kLayers);
  int64_t num_boundaries = 0;
  for (int64_t num_segments = 1; num_segments <= 13; ++num_segments) {
    RunDocument(halo, num_segments, num_segments, /*reach=*/1);
    // A rank alone has its own.
    if (axis_->size() > 1) num_boundaries += num_segments - 1;
    EXPECT_EQ(BytesSentByAll(), num_boundaries * kLayers * kMessageBytes);
  }
}

TEST_F(Halo, BringsAsManySegmentsAsAWindowReaches) {
  HaloExchange halo(*axis_, kLayers);
  for (int64_t reach = 2; reach <= 7; ++reach) {
    for (int64_t num_segments = 1; num_segments <= 13; ++num_segments) {
      RunDocument(halo, num_segments, num_segments, reach);
    }
  }
}

TEST_F(Halo, ADocumentThatWasCutShortLeavesNothingToTheNext) {
  HaloExchange halo(*axis_, kLayers);
  halo.BeginDocument(2 * axis_->size(), 1);
  halo.Start(0, Block(0, halo.segment(), 0));
  halo.Finish(0);
  RunDocument(halo, 1, axis_->size(), 1);
}

TEST_F(Halo, SinksAreHandedOnToAllRanksThatHaveASegment) {
  SinkRelay relay(*axis_, kLayers);
  for (int64_t num_segments = 1; num_segments <= 9; ++num_segments) {
    relay.BeginDocument(num_segments);
    for (int64_t segment = axis_->rank(); segment < num_segments;
         segment += axis_->size()) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        EXPECT_TRUE(relay.Get(layer, Block(num_segments, segment, layer))
                        .equal(Block(num_segments, 0, layer)));
      }
    }
  }
}

TEST_F(Halo, RefusesALayerThatDoesNotExist) {
  HaloExchange halo(*axis_, kLayers);
  halo.BeginDocument(1, 1);
  EXPECT_THROW(halo.Start(kLayers, Block(0, 0, 0)), c10::Error);
}

}  // namespace
}  // namespace lextra
