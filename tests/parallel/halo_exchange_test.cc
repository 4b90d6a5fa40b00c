#include "parallel/halo_exchange.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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
  void RunDocument(HaloExchange& halo, int64_t document, int64_t num_segments) {
    const int64_t num_ranks = axis_->size();
    halo.BeginDocument(num_segments);
    for (int64_t round = 0; round * num_ranks < num_segments; ++round) {
      halo.BeginRound(round);
      const int64_t segment = halo.segment();
      EXPECT_EQ(segment, round * num_ranks + axis_->rank());
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        halo.Start(layer, Block(document, segment, layer));
        const at::Tensor left = halo.Finish(layer);
        const bool has_left = segment > 0 && segment < num_segments;
        EXPECT_EQ(left.defined(), has_left) << "segment " << segment;
        if (has_left && left.defined()) {
          EXPECT_TRUE(left.equal(Block(document, segment - 1, layer)));
        }
      }
    }
  }

  const std::unique_ptr<Communicator> axis_ = testing::Session().World();
};

TEST_F(Halo, BringsTheLeftBlockAndOneMessageForEachBoundary) {
  HaloExchange halo(*axis_, kLayers);
  const int64_t message_bytes = 2 * 2 * 5 * 4;
  int64_t num_boundaries = 0;
  for (int64_t num_segments = 1; num_segments <= 13; ++num_segments) {
    RunDocument(halo, num_segments, num_segments);
    num_boundaries += num_segments - 1;
    const at::Tensor bytes = at::full({1}, axis_->bytes_sent(), at::kLong);
    axis_->AllReduce(bytes, ReduceOp::kSum);
    EXPECT_EQ(bytes.item<int64_t>(), num_boundaries * kLayers * message_bytes);
  }
}

TEST_F(Halo, ADocumentThatWasCutShortLeavesNothingToTheNext) {
  HaloExchange halo(*axis_, 1);
  halo.BeginDocument(2 * axis_->size());
  halo.Start(0, Block(0, halo.segment(), 0));
  halo.Finish(0);
  halo.BeginDocument(1);
  halo.Start(0, Block(1, halo.segment(), 0));
  EXPECT_FALSE(halo.Finish(0).defined());
}

TEST_F(Halo, RefusesALayerThatDoesNotExist) {
  HaloExchange halo(*axis_, kLayers);
  halo.BeginDocument(1);
  EXPECT_THROW(halo.Start(kLayers, Block(0, 0, 0)), c10::Error);
}

}  // namespace
}  // namespace lextra
