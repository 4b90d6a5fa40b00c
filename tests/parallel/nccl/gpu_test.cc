// What needs a GPU, on which several ranks run with LEXTRA_TEST_SHARE_GPU=1.
// Elsewhere these tests are skipped, with the reason. Numbers are small
// integers, so that equality is demanded.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "parallel/nccl/cuda_backend.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

constexpr at::ScalarType kReducible[] = {at::kFloat, at::kDouble, at::kBFloat16,
                                         at::kLong};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin,
                             ReduceOp::kAverage};

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

  // Rank r's numbers: r + 1, r + 2, ... modulo 11.
  static at::Tensor Numbers(int rank, int64_t count, at::ScalarType dtype) {
    return at::arange(rank + 1, rank + 1 + count, at::kLong)
        .remainder(11)
        .to(dtype);
  }
  at::Tensor OnGpu(const at::Tensor& values) const {
    return values.to(world_->device());
  }
  at::Tensor EmptyOnGpu(at::IntArrayRef shape, at::ScalarType dtype) const {
    return at::empty(shape, at::TensorOptions(dtype).device(world_->device()));
  }

  at::Tensor Reduced(ReduceOp op, int64_t count, at::ScalarType dtype) const {
    std::vector<at::Tensor> all;
    const at::ScalarType wide = dtype == at::kBFloat16 ? at::kFloat : dtype;
    for (int r = 0; r < size(); ++r) all.push_back(Numbers(r, count, wide));
    const at::Tensor stacked = at::stack(all);
    switch (op) {
      case ReduceOp::kMax:
        return stacked.amax(0).to(dtype);
      case ReduceOp::kMin:
        return stacked.amin(0).to(dtype);
      case ReduceOp::kAverage:
        // Over 1, 2 and 4 ranks an average is exact.
        return stacked.sum(0).div_(static_cast<double>(size())).to(dtype);
      case ReduceOp::kSum:
        break;
    }
    return stacked.sum(0).to(dtype);
  }

  std::unique_ptr<Communicator> world_;
};

TEST_F(NcclCollectives, ReduceExactlyForEveryDtypeAndOp) {
  constexpr int64_t kPart = 1001;
  for (const at::ScalarType dtype : kReducible) {
    for (const ReduceOp op : kOps) {
      if (op == ReduceOp::kAverage && dtype == at::kLong) continue;
      const int64_t count = kPart * size();
      const at::Tensor in = OnGpu(Numbers(rank(), count, dtype));
      const at::Tensor expected = Reduced(op, count, dtype);
      const at::Tensor part = EmptyOnGpu({kPart}, dtype);
      world_->ReduceScatter(part, in, op);
      EXPECT_TRUE(part.cpu().equal(expected.narrow(0, rank() * kPart, kPart)))
          << dtype << " op " << static_cast<int>(op);
      world_->AllReduce(in, op);
      EXPECT_TRUE(in.cpu().equal(expected))
          << dtype << " op " << static_cast<int>(op);
    }
  }
}

TEST_F(NcclCollectives, AddBfloat16InFloatAndRoundOnce) {
  const at::Tensor tensor =
      OnGpu(at::full({5}, rank() == 0 ? 256.0 : 1.0, at::kBFloat16));
  world_->AllReduce(tensor, ReduceOp::kSum);
  EXPECT_TRUE(tensor.cpu().equal(
      at::full({5}, 255.0 + size(), at::kFloat).to(at::kBFloat16)));
}

TEST_F(NcclCollectives, MoveBytesAndAnyDtype) {
  for (const at::ScalarType dtype : {at::kByte, at::kBFloat16, at::kLong}) {
    const at::Tensor in = OnGpu(Numbers(rank(), 777, dtype));
    const at::Tensor out = EmptyOnGpu({size(), 777}, dtype);
    world_->AllGather(out, in);
    for (int r = 0; r < size(); ++r) {
      EXPECT_TRUE(out[r].cpu().equal(Numbers(r, 777, dtype)));
    }
    const at::Tensor received = EmptyOnGpu({777}, dtype);
    const int left = (rank() + size() - 1) % size();
    world_->SendReceive(in, (rank() + 1) % size(), received, left);
    EXPECT_TRUE(received.cpu().equal(Numbers(left, 777, dtype)));
    world_->Broadcast(in, size() - 1);
    EXPECT_TRUE(in.cpu().equal(Numbers(size() - 1, 777, dtype)));
  }
}

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

TEST_F(NcclCollectives, SplitAxesReduceAmongThemselves) {
  const std::unique_ptr<Communicator> axis =
      world_->Split(rank() % 2, rank(), "data");
  EXPECT_EQ(axis->device(), world_->device());
  const at::Tensor tensor = OnGpu(at::full({3}, rank(), at::kFloat));
  axis->AllReduce(tensor, ReduceOp::kSum);
  double sum = 0;
  for (int r = rank() % 2; r < size(); r += 2) sum += r;
  EXPECT_TRUE(tensor.cpu().equal(at::full({3}, sum, at::kFloat)));
  world_->Barrier();
  EXPECT_TRUE(axis->Finalize().ok());
}

TEST_F(NcclCollectives, LeaveNoCallOpenWhenTheGpuIsThrough) {
  const at::Tensor tensor = OnGpu(at::ones({1 << 20}));
  world_->AllReduce(tensor, ReduceOp::kAverage);
  world_->Barrier();
  EXPECT_FALSE(world_->activity().device_groups().OldestCall());
  EXPECT_FALSE(world_->activity().device_groups().Error());
}

}  // namespace
}  // namespace lextra
