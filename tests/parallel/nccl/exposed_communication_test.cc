#include "parallel/nccl/exposed_communication.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/parallel/nccl/fake_ranks.h"

namespace lextra::testing {
namespace {

using std::chrono::milliseconds;

// The collective takes 300 ms, which nothing hides, or other work does.
TEST(ExposedCommunication, IsTheTimeThatTheStreamWaits) {
  RunRanks(2, [](Rank& rank) {
    Communicator& world = *rank.world;
    EXPECT_EQ(world.TakeExposedMilliseconds(), 0) << "nothing was measured";
    rank.gpu.delay = milliseconds(300);
    const at::Tensor tensor = rank.Computed(at::ones({4}), milliseconds(0));
    world.AllReduce(tensor, ReduceOp::kSum);
    const double exposed = world.TakeExposedMilliseconds();
    EXPECT_GE(exposed, 250);
    PendingCollective pending = world.AllReduceAsync(tensor, ReduceOp::kSum);
    const at::Tensor other = rank.Computed(tensor, milliseconds(600));
    pending.Wait();
    EXPECT_LT(world.TakeExposedMilliseconds(), exposed / 2);
    EXPECT_EQ(world.TakeExposedMilliseconds(), 0) << "they were taken";
  });
}

}  // namespace
}  // namespace lextra::testing
