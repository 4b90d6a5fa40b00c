// NcclCommunicator on the fakes of fake_gpu.h.
#include "parallel/nccl/nccl_communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/failure.h"
#include "parallel/nccl/nccl_group.h"
#include "tests/parallel/collectives.h"
#include "tests/parallel/nccl/fake_ranks.h"

namespace lextra::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Every claim on several numbers of ranks.
class NcclCollectives
    : public ::testing::TestWithParam<std::tuple<CollectiveClaim, int>> {};

TEST_P(NcclCollectives, Hold) {
  const auto& [claim, num_ranks] = GetParam();
  RunRanks(num_ranks, [&claim = claim, num_ranks = num_ranks](Rank& rank) {
    claim.check(
        {.group = *rank.world,
         .to_device =
             [&](const at::Tensor& values) {
               const at::Tensor tensor = rank.Computed(values, milliseconds(0));
               // A group of one copies by LibTorch, which the fake's streams
               // do not order.
               if (num_ranks == 1) rank.gpu.Synchronize();
               return tensor;
             },
         .room =
             [&](const at::Tensor& values) {
               const at::Tensor tensor = rank.gpu.Keep(values.clone());
               rank.gpu.Synchronize();
               return tensor;
             },
         .to_host =
             [&](const at::Tensor& tensor) { return rank.Seen(tensor); }});
  });
}

INSTANTIATE_TEST_SUITE_P(
    OnFakes, NcclCollectives,
    ::testing::Combine(::testing::ValuesIn(kCollectiveClaims),
                       ::testing::Values(1, 2, 3, 4)),
    [](const auto& info) {
      return absl::StrCat(std::get<0>(info.param).name, "_",
                          std::get<1>(info.param), "_ranks");
    });

TEST(NcclCommunicator, CallsInOrderAndPollsWhatIsInFlight) {
  RunRanks(2, [](Rank& rank) {
    std::vector<std::string> start = {"CommInitRank", "poll"};
    if (rank.world->rank() == 0) start.insert(start.begin(), "GetUniqueId");
    EXPECT_EQ(rank.nccl->Calls(), start);
    const at::Tensor tensor = rank.gpu.Keep(at::ones({4}));
    rank.nccl->ForgetCalls();
    rank.world->AllReduce(tensor, ReduceOp::kAverage);
    EXPECT_THAT(rank.nccl->Calls(),
                ElementsAre("GroupStart", "AllReduce", "GroupEnd", "poll"));
    rank.nccl->ForgetCalls();
    const at::Tensor receive = rank.gpu.Keep(at::ones({4}));
    const int other = 1 - rank.world->rank();
    rank.world->SendReceive(tensor, other, receive, other);
    EXPECT_THAT(rank.nccl->Calls(), ElementsAre("GroupStart", "Send", "Receive",
                                                "GroupEnd", "poll"));
    rank.nccl->ForgetCalls();
    const std::unique_ptr<Communicator> alone =
        rank.world->Split(rank.world->rank(), 0, "tensor");
    alone->AllReduce(tensor, ReduceOp::kSum);
    EXPECT_TRUE(alone->Finalize().ok());
    EXPECT_THAT(rank.nccl->Calls(), ElementsAre()) << "a group of one has none";
    const std::unique_ptr<Communicator> both =
        rank.world->Split(0, rank.world->rank(), "data");
    rank.nccl->ForgetCalls();
    EXPECT_TRUE(both->Finalize().ok());
    EXPECT_THAT(rank.nccl->Calls(),
                ElementsAre("CommFinalize", "poll", "CommDestroy"));
  });
}

// The current stream computes the input late, or the collective is slow; the
// host reaches the end of both at once.
bool AllReduceIsSeenRight(milliseconds compute, milliseconds collective,
                          bool forgets_ready, bool forgets_done,
                          at::ScalarType dtype) {
  std::atomic<bool> right = true;
  RunRanks(2, [&](Rank& rank) {
    rank.gpu.delay = collective;
    rank.gpu.forgets_ready = forgets_ready;
    rank.gpu.forgets_done = forgets_done;
    const at::Tensor tensor =
        rank.Computed(Numbers(rank.world->rank(), 6, dtype), compute);
    const auto start = std::chrono::steady_clock::now();
    PendingCollective pending =
        rank.world->AllReduceAsync(tensor, ReduceOp::kSum);
    pending.Wait();
    EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(250))
        << "the host waited";
    if (!rank.Seen(tensor).equal(Reduced(2, 6, ReduceOp::kSum, dtype))) {
      right = false;
    }
    // Whatever was forgotten is through before memory goes.
    rank.world->Barrier();
    std::this_thread::sleep_for(compute + collective);
  });
  return right;
}

TEST(NcclCommunicator, OrdersStreamsByEventsAndTheHostWaitsForNone) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    EXPECT_TRUE(AllReduceIsSeenRight(milliseconds(300), milliseconds(300),
                                     false, false, dtype));
  }
}

TEST(NcclCommunicator, AMissingWaitForTheInputWouldShow) {
  EXPECT_FALSE(AllReduceIsSeenRight(milliseconds(300), milliseconds(0), true,
                                    false, at::kFloat));
}

TEST(NcclCommunicator, AMissingWaitForTheResultWouldShow) {
  EXPECT_FALSE(AllReduceIsSeenRight(milliseconds(0), milliseconds(300), false,
                                    true, at::kFloat));
}

TEST(NcclCommunicator, SeveralCollectivesUnderWayEndInTheirOrder) {
  RunRanks(3, [](Rank& rank) {
    rank.gpu.delay = milliseconds(5);
    std::vector<at::Tensor> buckets;
    std::vector<PendingCollective> pending;
    for (int i = 0; i < 20; ++i) {
      buckets.push_back(
          rank.Computed(Numbers(rank.world->rank() + i, 8), milliseconds(1)));
      pending.push_back(
          rank.world->AllReduceAsync(buckets.back(), ReduceOp::kSum));
    }
    for (PendingCollective& p : pending) p.Wait();
    for (int i = 0; i < 20; ++i) {
      at::Tensor sum = at::zeros({8});
      for (int r = 0; r < 3; ++r) sum += Numbers(r + i, 8);
      EXPECT_TRUE(rank.Seen(buckets[i]).equal(sum)) << i;
    }
  });
}

TEST(NcclCommunicator, BarrierWaitsForTheGpusOfAllRanks) {
  std::atomic<int> num_done = 0;
  RunRanks(3, [&](Rank& rank) {
    rank.gpu.current().Enqueue([&, late = rank.world->rank()] {
      std::this_thread::sleep_for(milliseconds(50 * late));
      ++num_done;
    });
    rank.world->Barrier();
    EXPECT_EQ(num_done, 3);
  });
}

TEST(NcclCommunicator, TellsWhatItsGpuIsIn) {
  RunRanks(2, [](Rank& rank) {
    InFlightCalls& groups = rank.activity->in_flight_calls();
    EXPECT_FALSE(groups.OldestCall());
    const at::Tensor tensor = rank.gpu.Keep(at::ones({25}));
    rank.world->AllReduce(tensor, ReduceOp::kSum);
    rank.gpu.Synchronize();
    EXPECT_FALSE(groups.OldestCall()) << "through";
    rank.world->Barrier();
    if (rank.world->rank() == 1) {
      std::this_thread::sleep_for(milliseconds(200));
    }
    PendingCollective second =
        rank.world->AllReduceAsync(tensor, ReduceOp::kSum);
    second.Wait();
    if (rank.world->rank() == 0) {
      EXPECT_FALSE(rank.activity->Snapshot().in_call) << "the host runs ahead";
      std::this_thread::sleep_for(milliseconds(50));
      const auto oldest = groups.OldestCall();
      ASSERT_TRUE(oldest);
      EXPECT_EQ(CallText(oldest->call, "world"),
                "AllReduce 3 on axis world (100 bytes)")
          << "the Barrier is a call of the group, too";
      EXPECT_GE(oldest->seconds, 0.04);
      EXPECT_LT(oldest->seconds, 0.2);
      EXPECT_EQ(groups.OldestCall()->number, oldest->number);
    }
    rank.gpu.Synchronize();
    EXPECT_FALSE(groups.OldestCall());
  });
}

TEST(NcclCommunicator, TellsAsynchronousErrorsWithTheCall) {
  RunRanks(2, [](Rank& rank) {
    InFlightCalls& groups = rank.activity->in_flight_calls();
    EXPECT_FALSE(groups.Error());
    rank.nccl->SetAsyncError(NcclResult::kRemoteError);
    EXPECT_EQ(groups.Error(), "NCCL: between calls on axis world: error 6");
    rank.nccl->SetAsyncError(NcclResult::kSuccess);
    rank.world->Barrier();

    rank.gpu.delay = milliseconds(200);
    const at::Tensor tensor = rank.gpu.Keep(at::ones({25}));
    rank.world->AllReduce(tensor, ReduceOp::kSum);
    rank.nccl->SetAsyncError(NcclResult::kSystemError);
    EXPECT_EQ(groups.Error(),
              "NCCL: AllReduce 2 on axis world (100 bytes): error 2");
    rank.nccl->SetAsyncError(NcclResult::kSuccess);
    rank.gpu.is_broken = true;
    EXPECT_EQ(groups.Error(),
              "GPU: AllReduce 2 on axis world (100 bytes): illegal memory "
              "access");
    rank.gpu.is_broken = false;
  });
}

TEST(NcclCommunicator, AnInvalidArgumentIsTheCallersAndTheGroupRemainsUsable) {
  RunRanks(2, [](Rank& rank) {
    const at::Tensor tensor = rank.gpu.Keep(Numbers(rank.world->rank(), 4));
    const int other = 1 - rank.world->rank();
    for (const char* call : {"AllReduce", "Send"}) {
      rank.nccl->FailNext(call, NcclResult::kInvalidArgument);
      try {
        if (std::string(call) == "Send") {
          rank.world->SendReceive(tensor, other, tensor, other);
        } else {
          rank.world->AllReduce(tensor, ReduceOp::kSum);
        }
        FAIL() << "no exception";
      } catch (const c10::Error& error) {
        EXPECT_THAT(error.what_without_backtrace(),
                    ::testing::AllOf(HasSubstr("on axis world (16 bytes)"),
                                     HasSubstr("error 4")));
      }
    }
    EXPECT_FALSE(rank.activity->in_flight_calls().Error());
    rank.world->AllReduce(tensor, ReduceOp::kSum);
    EXPECT_TRUE(
        rank.Seen(tensor).equal(Reduced(2, 4, ReduceOp::kSum, at::kFloat)));
  });
}

TEST(NcclCommunicator, AbortsOnceEndsWhatIsUnderWayAndDestroysNothing) {
  FakeNetwork network;
  const auto meeting = std::make_shared<Meeting>(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(network, meeting, r, 2);
      rank.set_up();
      const std::unique_ptr<Communicator> data =
          rank.world->Split(0, r, "data");
      const at::Tensor tensor = rank.gpu.Keep(at::ones({4}));
      // The other rank never comes.
      if (r == 0) rank.world->AllReduce(tensor, ReduceOp::kSum);
      rank.nccl->ForgetCalls();
      InFlightCalls& groups = rank.activity->in_flight_calls();
      groups.AbortAll();
      groups.AbortAll();
      EXPECT_THAT(rank.nccl->Calls(), ElementsAre("CommAbort", "CommAbort"));
      EXPECT_FALSE(groups.Error());
      rank.gpu.Synchronize();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(NcclCommunicator, WorkIsDoneWhenTheStreamComesToItsMark) {
  RunRanks(2, [](Rank& rank) {
    InFlightCalls& groups = rank.activity->in_flight_calls();
    // A group of one has marks, too.
    const std::unique_ptr<Communicator> alone =
        rank.world->Split(rank.world->rank(), 0, "tensor");
    const uint64_t before = groups.NumWorkDone();
    std::promise<void> may_go_on;
    std::shared_future<void> gate = may_go_on.get_future().share();
    rank.world->MarkWork();
    rank.gpu.Synchronize();
    EXPECT_EQ(groups.NumWorkDone() - before, 1u);
    rank.gpu.current().Enqueue([gate] { gate.wait(); });
    rank.world->MarkWork();
    alone->MarkWork();
    EXPECT_EQ(groups.NumWorkDone() - before, 1u);
    may_go_on.set_value();
    rank.gpu.Synchronize();
    EXPECT_EQ(groups.NumWorkDone() - before, 3u);
    EXPECT_TRUE(alone->Finalize().ok());
  });
}

TEST(NcclGroup, AThreadThatWaitsForNcclStaysOutAfterAnAbort) {
  // Never deleted: that thread uses them.
  auto* gpu = new FakeGpu;
  auto* nccl = new std::shared_ptr<FakeNccl>(
      std::make_shared<FakeNccl>(*new FakeNetwork, *gpu));
  auto* activity = new std::shared_ptr<Activity>(std::make_shared<Activity>());
  std::thread([=] {
    // Polls until the second rank comes, which it does not.
    const NcclGroup group(*nccl, gpu->MakeStreams(), *activity, "world", 2,
                          NcclId{}, 0);
    ADD_FAILURE() << "came back from an aborted group";
  }).detach();
  while ((*nccl)->Calls() != std::vector<std::string>{"CommInitRank", "poll"}) {
    std::this_thread::yield();
  }
  (*activity)->in_flight_calls().AbortAll();
  const std::vector<std::string> calls = (*nccl)->Calls();
  EXPECT_EQ(calls.back(), "CommAbort");
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ((*nccl)->Calls(), calls);
}

// An error of NCCL on one of two ranks, whose call the test chooses.
void FailWith(const std::string& call, NcclResult result) {
  RunRanks(2, [&](Rank& rank) {
    rank.world->Barrier();
    if (rank.world->rank() == 0) {
      SetAbortHandler([](int code) { std::_Exit(code); });
      rank.nccl->FailNext(call, result);
      rank.world->AllReduce(rank.gpu.Keep(at::ones({4})), ReduceOp::kSum);
    } else {
      std::this_thread::sleep_for(std::chrono::seconds(10));
    }
  });
}

class NcclFailureDeathTest : public ::testing::TestWithParam<std::string> {
 protected:
  // The threads of other tests would be missing in a forked process.
  NcclFailureDeathTest() {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  }
};
INSTANTIATE_TEST_SUITE_P(Calls, NcclFailureDeathTest,
                         ::testing::Values("GroupStart", "AllReduce",
                                           "GroupEnd", "poll"));

TEST_P(NcclFailureDeathTest, EndsTheProcessAndNamesCallAndCause) {
  EXPECT_EXIT(FailWith(GetParam(), NcclResult::kRemoteError),
              ::testing::ExitedWithCode(6),
              "error: NCCL: AllReduce 2 on axis world \\(16 bytes\\): error 6");
}

}  // namespace
}  // namespace lextra::testing
