// What needs a GPU, on which several ranks run with LEXTRA_TEST_SHARE_GPU=1.
// Elsewhere these tests are skipped, with the reason.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "parallel/nccl/cuda_backend.h"
#include "tests/parallel/collectives.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::CollectiveClaim;

class NcclCollectives : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("LEXTRA_TEST_SHARE_GPU", "1", 1);
    const std::unique_ptr<Communicator> host = testing::Session().World();
    auto made = MakeCudaCommunicator(*host);
    if (!made.ok()) GTEST_SKIP() << std::string(made.status().message());
    world_ = *std::move(made);
  }
  void TearDown() override {
    if (world_ != nullptr) {
      EXPECT_TRUE(world_->Finalize().ok());
    }
  }

  int rank() const { return world_->rank(); }
  int size() const { return world_->size(); }

  at::Tensor OnGpu(const at::Tensor& values) const {
    return values.to(world_->device());
  }

  std::unique_ptr<Communicator> world_;
};

class NcclClaims : public NcclCollectives,
                   public ::testing::WithParamInterface<CollectiveClaim> {};

TEST_P(NcclClaims, Hold) {
  GetParam().check(
      {.group = *world_,
       .to_device = [this](const at::Tensor& x) { return OnGpu(x); },
       .room = [this](const at::Tensor& x) { return OnGpu(x); },
       .to_host = [](const at::Tensor& x) { return x.cpu(); }});
}

INSTANTIATE_TEST_SUITE_P(OnGpus, NcclClaims,
                         ::testing::ValuesIn(testing::kCollectiveClaims),
                         [](const auto& info) { return info.param.name; });

// The stream computes for a while before the input is there, and the host never
// waits: only events order the three.
TEST_F(NcclCollectives, SeeWhatTheStreamComputesAndTheStreamSeesTheResult) {
  const at::Tensor busy = OnGpu(at::full({2048, 2048}, 1.0 / 2048));
  for (int i = 0; i < 10; ++i) {
    at::Tensor product = busy;
    for (int j = 0; j < 20; ++j) product = product.mm(busy);
    // Every entry stays 1 / 2048, a power of two.
    const at::Tensor tensor = product.mul(2048 * (rank() + 1 + i));
    PendingCollective pending = world_->AllReduceAsync(tensor, ReduceOp::kSum);
    const at::Tensor meanwhile = busy.mm(busy);
    pending.Wait();
    const at::Tensor seen = tensor + 1;
    const double sum = size() * (size() + 1) / 2 + size() * i;
    EXPECT_TRUE(seen.eq(sum + 1).all().item<bool>()) << i;
  }
}

TEST_F(NcclCollectives, LeaveNoCallOpenWhenTheGpuIsThrough) {
  const at::Tensor tensor = OnGpu(at::ones({1 << 20}));
  world_->AllReduce(tensor, ReduceOp::kAverage);
  world_->Barrier();
  EXPECT_FALSE(world_->activity().in_flight_calls().OldestCall());
  EXPECT_FALSE(world_->activity().in_flight_calls().Error());
}

}  // namespace
}  // namespace lextra
