#include "parallel/communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "parallel/mpi/mpi_communicator.h"
#include "parallel/nccl/cuda_backend.h"
#include "tests/parallel/collectives.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::CollectiveClaim;

// Every claim, with MPI counting as much as it can at once, and at most 7
// elements: then most need several calls.
class MpiCollectives
    : public ::testing::TestWithParam<std::tuple<CollectiveClaim, int64_t>> {};

TEST_P(MpiCollectives, Hold) {
  const auto& [claim, max_count] = GetParam();
  const std::unique_ptr<Communicator> group =
      MakeMpiCommunicator(std::make_shared<Activity>(), max_count);
  claim.check({.group = *group});
  EXPECT_TRUE(group->Finalize().ok());
}

INSTANTIATE_TEST_SUITE_P(
    WholeAndInPieces, MpiCollectives,
    ::testing::Combine(::testing::ValuesIn(testing::kCollectiveClaims),
                       ::testing::Values(kMaxMpiCount, 7)),
    [](const auto& info) {
      return absl::StrCat(std::get<0>(info.param).name, "_",
                          std::get<1>(info.param));
    });

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
  // It is next to the program lextra, not next to tests.
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const auto made = MakeCudaCommunicator(*world);
  EXPECT_EQ(ExitCodeOf(made.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(made.status().message()),
              ::testing::HasSubstr("no CUDA backend"));
}

}  // namespace
}  // namespace lextra
