// Inputs are small integers, so that every sum is exact in every dtype and
// equality is demanded.
#include "parallel/communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "parallel/mpi/mpi_communicator.h"
#include "parallel/nccl/cuda_backend.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

constexpr int64_t kElements = 23;

// Parameter: the most that one call of MPI may count; 23 elements need several.
class Collectives : public ::testing::TestWithParam<int64_t> {
 protected:
  ~Collectives() override { EXPECT_TRUE(group_->Finalize().ok()); }

  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }

  // Rank r's numbers: r + 1, r + 2, ... modulo 11.
  static at::Tensor Numbers(int rank, int64_t count, at::ScalarType dtype) {
    return at::arange(rank + 1, rank + 1 + count, at::kLong)
        .remainder(11)
        .to(dtype);
  }

  at::Tensor Reduced(ReduceOp op, int64_t count, at::ScalarType dtype) const {
    std::vector<at::Tensor> all;
    for (int r = 0; r < size(); ++r) {
      all.push_back(Numbers(r, count, at::kDouble));
    }
    const at::Tensor stacked = at::stack(all);
    switch (op) {
      case ReduceOp::kSum:
        return stacked.sum(0).to(dtype);
      case ReduceOp::kMax:
        return stacked.amax(0).to(dtype);
      case ReduceOp::kMin:
        return stacked.amin(0).to(dtype);
      default:
        break;
    }
    const at::ScalarType wide =
        dtype == at::kBFloat16 ? at::ScalarType::Float : dtype;
    return stacked.sum(0).to(wide).div_(size()).to(dtype);
  }

  std::unique_ptr<Communicator> group_ =
      MakeMpiCommunicator(std::make_shared<Activity>(), GetParam());
};

constexpr at::ScalarType kReducible[] = {at::kFloat, at::kDouble, at::kBFloat16,
                                         at::kLong};

TEST_P(Collectives, AllReduceIsExactForEveryDtypeAndOp) {
  for (const at::ScalarType dtype : kReducible) {
    for (const ReduceOp op :
         {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin, ReduceOp::kAverage}) {
      if (op == ReduceOp::kAverage && dtype == at::kLong) continue;
      const at::Tensor tensor = Numbers(rank(), kElements, dtype);
      group_->AllReduce(tensor, op);
      EXPECT_TRUE(tensor.equal(Reduced(op, kElements, dtype)))
          << dtype << " op " << static_cast<int>(op);
    }
  }
}

TEST_P(Collectives, Bfloat16IsAddedInFloatAndRoundedOnce) {
  // 256 + 1 is 256 in bfloat16: adding one by one would lose every 1.
  const at::Tensor tensor =
      at::full({5}, rank() == 0 ? 256.0 : 1.0, at::kBFloat16);
  group_->AllReduce(tensor, ReduceOp::kSum);
  EXPECT_TRUE(tensor.equal(
      at::full({5}, 255.0 + size(), at::kFloat).to(at::kBFloat16)));
}

TEST_P(Collectives, ReduceScatterGivesEachRankItsPart) {
  for (const at::ScalarType dtype : kReducible) {
    const at::Tensor in = Numbers(rank(), size() * kElements, dtype);
    const at::Tensor out = at::empty({kElements}, dtype);
    group_->ReduceScatter(out, in, ReduceOp::kSum);
    const at::Tensor sum = Reduced(ReduceOp::kSum, size() * kElements, dtype);
    EXPECT_TRUE(out.equal(sum.narrow(0, rank() * kElements, kElements)))
        << dtype;
  }
}

TEST_P(Collectives, AllGatherIsInRankOrderForAnyDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16,
                                     at::kLong, at::kByte, at::kBool}) {
    const at::Tensor out = at::empty({size(), kElements}, dtype);
    group_->AllGather(out, Numbers(rank(), kElements, dtype));
    for (int r = 0; r < size(); ++r) {
      EXPECT_TRUE(out[r].equal(Numbers(r, kElements, dtype))) << dtype;
    }
  }
}

TEST_P(Collectives, BroadcastGivesTheRootsTensorForEveryRoot) {
  for (int root = 0; root < size(); ++root) {
    const at::Tensor tensor = Numbers(rank(), kElements, at::kFloat);
    group_->Broadcast(tensor, root);
    EXPECT_TRUE(tensor.equal(Numbers(root, kElements, at::kFloat)));
  }
}

TEST_P(Collectives, SendReceivePassesRoundTheRingAndCountsItsBytes) {
  const int left = (rank() + size() - 1) % size();
  const at::Tensor received = at::empty({kElements}, at::kDouble);
  PendingCollective pending =
      group_->SendReceiveAsync(Numbers(rank(), kElements, at::kDouble),
                               (rank() + 1) % size(), received, left);
  pending.Wait();
  EXPECT_TRUE(received.equal(Numbers(left, kElements, at::kDouble)));
  EXPECT_EQ(group_->bytes_sent(), kElements * 8);
}

TEST_P(Collectives, SendReceiveLeavesOutWhatHasNoTensorOrNoRank) {
  // A chain: the first rank receives nothing, the last one sends nothing.
  const bool first = rank() == 0;
  const bool last = rank() == size() - 1;
  const at::Tensor received = at::full({kElements}, -1.0, at::kFloat);
  group_->SendReceive(
      last ? at::Tensor() : Numbers(rank(), kElements, at::kFloat),
      rank() + 1 < size() ? rank() + 1 : -1, received, rank() - 1);
  EXPECT_TRUE(received.equal(first
                                 ? at::full({kElements}, -1.0, at::kFloat)
                                 : Numbers(rank() - 1, kElements, at::kFloat)));
  EXPECT_EQ(group_->bytes_sent(), last ? 0 : kElements * 4);
}

TEST_P(Collectives, EmptyTensorsPass) {
  const at::Tensor nothing = at::empty({0}, at::kFloat);
  group_->AllReduce(nothing, ReduceOp::kSum);
  group_->AllGather(at::empty({size(), 0}, at::kFloat), nothing);
  group_->Broadcast(nothing, 0);
}

INSTANTIATE_TEST_SUITE_P(WholeAndInPieces, Collectives,
                         ::testing::Values(kMaxMpiCount, 7));

TEST(Communicator, AllReduceGivesTheSameBitsToAllRanks) {
  // Replicated tensors stay equal only because of this. The sizes take MPI
  // through its algorithms; the numbers are not exactly summable.
  const std::unique_ptr<Communicator> group = testing::Session().World();
  for (const int64_t size : {1, 100, 5000, 200000, 1500000}) {
    const at::Tensor sum =
        at::arange(size, at::kFloat).add_(group->rank()).sin_();
    group->AllReduce(sum, ReduceOp::kSum);
    const at::Tensor of_rank_0 = sum.clone();
    group->Broadcast(of_rank_0, 0);
    EXPECT_TRUE(sum.equal(of_rank_0)) << size;
  }
}

TEST(Communicator, LargeMessagesInBothDirectionsDoNotLock) {
  const std::unique_ptr<Communicator> group = testing::Session().World();
  const int right = (group->rank() + 1) % group->size();
  const int left = (group->rank() + group->size() - 1) % group->size();
  const at::Tensor received = at::empty({1 << 20}, at::kFloat);
  group->SendReceive(
      at::full({1 << 20}, static_cast<double>(group->rank()), at::kFloat),
      right, received, left);
  EXPECT_TRUE(received.eq(left).all().item<bool>());
}

TEST(Communicator, SplitMakesGroupsOfAColorOrderedByKey) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const int rank = world->rank();
  const std::unique_ptr<Communicator> group =
      world->Split(rank % 2, -rank, "parity");
  EXPECT_EQ(group->size(), (world->size() + (rank % 2 == 0 ? 1 : 0)) / 2);
  EXPECT_EQ(group->rank(), group->size() - 1 - rank / 2);
  const at::Tensor sum = at::ones({1}, at::kLong);
  group->AllReduce(sum, ReduceOp::kSum);
  EXPECT_EQ(sum.item<int64_t>(), group->size());
}

TEST(Communicator, RefusesWhatItCannotReduceOrMove) {
  const std::unique_ptr<Communicator> group = testing::Session().World();
  EXPECT_THROW(group->AllReduce(at::zeros({3}, at::kInt), ReduceOp::kSum),
               c10::Error);
  EXPECT_THROW(group->AllReduce(at::zeros({3}, at::kLong), ReduceOp::kAverage),
               c10::Error);
  EXPECT_THROW(group->AllReduce(at::zeros({3, 4}).t(), ReduceOp::kSum),
               c10::Error);
  EXPECT_THROW(
      group->AllGather(at::zeros({group->size() * 3 + 1}), at::zeros({3})),
      c10::Error);
  EXPECT_THROW(group->Broadcast(at::zeros({3}), group->size()), c10::Error);
}

TEST(Communicator, TellsItsRanksActivityOfEveryCall) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  if (world->size() == 1) return;  // its calls are free
  const Activity& activity = world->activity();
  const at::Tensor tensor = at::zeros({10});
  const auto last = [&](Operation operation, uint64_t sequence, int64_t bytes) {
    const ActivitySnapshot told = activity.Snapshot();
    EXPECT_FALSE(told.in_call);
    EXPECT_EQ(told.call.operation, operation);
    EXPECT_EQ(told.call.sequence, sequence) << NameOf(operation);
    EXPECT_EQ(told.call.bytes, bytes) << NameOf(operation);
    EXPECT_STREQ(told.groups[told.call.group].axis.data(), "world");
  };
  world->AllReduce(tensor, ReduceOp::kSum);
  last(Operation::kAllReduce, 1, 40);
  world->Broadcast(tensor, 0);
  last(Operation::kBroadcast, 2, 40);
  const at::Tensor all = at::zeros({world->size() * 10});
  world->AllGather(all, tensor);
  last(Operation::kAllGather, 3, 40);
  world->ReduceScatter(tensor, all, ReduceOp::kSum);
  last(Operation::kReduceScatter, 4, 40 * world->size());
  world->Barrier();
  last(Operation::kBarrier, 5, 0);

  const int right = (world->rank() + 1) % world->size();
  const int left = (world->rank() + world->size() - 1) % world->size();
  PendingCollective exchange =
      world->SendReceiveAsync(tensor, right, at::empty({10}), left);
  world->Barrier();
  last(Operation::kBarrier, 6, 0);
  exchange.Wait();
  last(Operation::kSendReceive, 1, 40);
}

TEST(Communicator, RanksOfAGroupKnowItByOneIdAndNoOthersDo) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const int size = world->size();
  const std::unique_ptr<Communicator> parity =
      world->Split(world->rank() % 2, 0, "parity");
  const std::unique_ptr<Communicator> again =
      world->Split(world->rank() % 2, 0, "again");
  std::vector<int64_t> ids;
  for (const Communicator* group : {again.get(), parity.get(), world.get()}) {
    for (const auto& listed : world->activity().Snapshot().groups) {
      if (listed.id != 0 && group->axis() == listed.axis.data()) {
        ids.push_back(static_cast<int64_t>(listed.id));
        break;
      }
    }
  }
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_THAT(std::set<int64_t>(ids.begin(), ids.end()), ::testing::SizeIs(3));
  const at::Tensor mine = at::tensor(ids, at::kLong);
  const at::Tensor all = at::empty({size, 3}, at::kLong);
  world->AllGather(all, mine);
  for (int rank = 0; rank < size; ++rank) {
    const bool same = rank % 2 == world->rank() % 2;
    EXPECT_EQ(all[rank][0].item<int64_t>() == ids[0], same);
    EXPECT_EQ(all[rank][1].item<int64_t>() == ids[1], same);
    EXPECT_EQ(all[rank][2].item<int64_t>(), ids[2]);
  }
}

TEST(MakeCudaCommunicator, SaysOnAllRanksThatTheBackendIsMissing) {
  // It lies beside the program lextra, not beside tests.
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const auto made = MakeCudaCommunicator(*world);
  EXPECT_EQ(ExitCodeOf(made.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(made.status().message()),
              ::testing::HasSubstr("no CUDA backend"));
}

}  // namespace
}  // namespace lextra
