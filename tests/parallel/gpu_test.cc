// What needs a GPU: NCCL for real. Several ranks share GPUs with
// LEXTRA_TEST_SHARE_GPU=1. Elsewhere these tests are skipped, with the reason.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "parallel/cuda_backend.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

class NcclOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::unique_ptr<Communicator> world = testing::Session().World();
    absl::StatusOr<std::unique_ptr<Communicator>> gpu =
        MakeCudaCommunicator(*world);
    if (!gpu.ok()) GTEST_SKIP() << std::string(gpu.status().message());
    gpu_ = *std::move(gpu);
  }
  void TearDown() override {
    if (gpu_ == nullptr) return;
    EXPECT_TRUE(gpu_->Finalize().ok());
  }

  // Whole numbers that differ from rank to rank and sum exactly.
  at::Tensor Mine(int64_t size, at::ScalarType type) const {
    return (at::arange(size, at::kDouble).remainder(16) + gpu_->rank())
        .to(type)
        .to(gpu_->device());
  }
  at::Tensor SumOfAll(int64_t size) const {
    const int64_t ranks = gpu_->size();
    return at::arange(size, at::kDouble).remainder(16) * ranks +
           ranks * (ranks - 1) / 2;
  }

  std::unique_ptr<Communicator> gpu_;
};

constexpr at::ScalarType kReducible[] = {at::kFloat, at::kDouble, at::kLong,
                                         at::kBFloat16};

TEST_F(NcclOnGpu, ReducesExactly) {
  for (const at::ScalarType type : kReducible) {
    const at::Tensor tensor = Mine(1000, type);
    gpu_->AllReduce(tensor, ReduceOp::kSum);
    EXPECT_TRUE(at::equal(tensor.cpu().to(at::kDouble), SumOfAll(1000)))
        << type;
  }
}

TEST_F(NcclOnGpu, ScattersAndGathersInPlace) {
  const int64_t part = 100;
  const int64_t size = part * gpu_->size();
  const at::Tensor whole = Mine(size, at::kFloat);
  const at::Tensor own = whole.narrow(0, part * gpu_->rank(), part);
  gpu_->ReduceScatter(own, whole, ReduceOp::kSum);
  gpu_->AllGather(whole, own);
  EXPECT_TRUE(at::equal(whole.cpu().to(at::kDouble), SumOfAll(size)));
}

TEST_F(NcclOnGpu, SendsRoundTheRingAndBroadcasts) {
  const int size = gpu_->size();
  const int from = (gpu_->rank() + size - 1) % size;
  const at::Tensor mine = at::full({50}, gpu_->rank(), at::kLong).cuda();
  const at::Tensor received = at::empty_like(mine);
  gpu_->SendReceive(mine, (gpu_->rank() + 1) % size, received, from);
  EXPECT_TRUE(received.eq(from).all().item<bool>());
  gpu_->Broadcast(received, size - 1);
  EXPECT_TRUE(received.eq((size - 2 + size) % size).all().item<bool>());
  gpu_->Barrier();
}

// What follows Wait() on the current stream sees the result, and what came
// before the call is seen by it, without a wait of the host.
TEST_F(NcclOnGpu, IsOrderedWithTheCurrentStream) {
  const at::Tensor heavy = at::ones({2000, 2000}).cuda();
  for (int round = 0; round < 20; ++round) {
    const at::Tensor tensor = at::zeros({1 << 20}).cuda();
    at::Tensor product = heavy;
    for (int i = 0; i < 4; ++i) product = at::mm(product, heavy).div_(2000);
    tensor.add_(product[0][0]);  // 1, once the products are done
    PendingCollective pending = gpu_->AllReduceAsync(tensor, ReduceOp::kSum);
    pending.Wait();
    tensor.mul_(2);
    EXPECT_TRUE(tensor.eq(2.0 * gpu_->size()).all().item<bool>());
  }
}

TEST_F(NcclOnGpu, SplitsIntoGroups) {
  const int color = gpu_->rank() % 2;
  const std::unique_ptr<Communicator> group =
      gpu_->Split(color, gpu_->rank(), "half");
  const at::Tensor one = at::ones({3}).cuda();
  group->AllReduce(one, ReduceOp::kSum);
  EXPECT_TRUE(one.eq(group->size()).all().item<bool>());
  EXPECT_EQ(group->size(), (gpu_->size() + 1 - color) / 2);
  EXPECT_TRUE(group->Finalize().ok());
}

}  // namespace
}  // namespace lextra
