#include "parallel/activity/activity.h"

#include <gtest/gtest.h>

#include <thread>

namespace lextra {
namespace {

TEST(Activity, TellsPhaseStepAndTheCallThatItIsIn) {
  Activity activity;
  const int group = activity.AddGroup(7, "data", 3);
  activity.SetPhase(Phase::kTraining, 12);
  activity.Begin(group, Operation::kAllReduce, 400);
  const ActivitySnapshot inside = activity.Snapshot();
  EXPECT_EQ(inside.phase, Phase::kTraining);
  EXPECT_EQ(inside.step, 12);
  EXPECT_TRUE(inside.in_call);
  EXPECT_EQ(inside.call.operation, Operation::kAllReduce);
  EXPECT_EQ(inside.call.sequence, 1u);
  EXPECT_EQ(inside.call.bytes, 400);
  const ActivitySnapshot::Group& told = inside.groups[inside.call.group];
  EXPECT_EQ(told.id, 7u);
  EXPECT_STREQ(told.axis.data(), "data");
  EXPECT_EQ(told.rank, 3);
  EXPECT_EQ(told.num_collectives, 1u);

  activity.Leave();
  const ActivitySnapshot after = activity.Snapshot();
  EXPECT_FALSE(after.in_call);
  EXPECT_EQ(after.call.operation, Operation::kAllReduce) << "the last finished";
}

TEST(Activity, CallsPhasesTicksAndWorkAreProgressAndACallThatBeginsIsNot) {
  Activity activity;
  const int group = activity.AddGroup(1, "world", 0);
  uint64_t before = activity.Snapshot().progress;
  const auto grown = [&] {
    const uint64_t now = activity.Snapshot().progress;
    return now - std::exchange(before, now);
  };
  activity.Begin(group, Operation::kBarrier, 0);
  EXPECT_EQ(grown(), 0u);
  activity.Leave();
  EXPECT_EQ(grown(), 1u);
  activity.SetPhase(Phase::kSave, 3);
  EXPECT_EQ(grown(), 1u);
  activity.Tick();
  EXPECT_EQ(grown(), 1u);
  const ScopedWorkCounter counted(activity.work());
  CountWork();
  EXPECT_EQ(grown(), 1u);
}

TEST(Activity, EachGroupCountsItsCollectivesAndItsExchangesFromOne) {
  Activity activity;
  const int world = activity.AddGroup(1, "world", 0);
  const int data = activity.AddGroup(2, "data", 0);
  EXPECT_EQ(activity.Begin(world, Operation::kAllReduce, 4).sequence, 1u);
  EXPECT_EQ(activity.Begin(world, Operation::kBroadcast, 4).sequence, 2u);
  EXPECT_EQ(activity.Begin(data, Operation::kAllGather, 4).sequence, 1u);
  EXPECT_EQ(activity.Begin(world, Operation::kSendReceive, 4, 1).sequence, 1u);
  EXPECT_EQ(activity.Begin(world, Operation::kBarrier, 0).sequence, 3u);
}

TEST(Activity, ACallLeftUnderWayIsTheOneThatIsWaitedForAgain) {
  Activity activity;
  const int group = activity.AddGroup(1, "context", 0);
  const GroupCall exchange =
      activity.Begin(group, Operation::kSendReceive, 64, 2);
  activity.Leave();
  activity.Begin(group, Operation::kAllReduce, 4);
  activity.Leave();
  EXPECT_FALSE(activity.Snapshot().in_call);
  activity.Enter(exchange);
  const ActivitySnapshot waiting = activity.Snapshot();
  EXPECT_TRUE(waiting.in_call);
  EXPECT_EQ(waiting.call.operation, Operation::kSendReceive);
  EXPECT_EQ(waiting.call.sequence, 1u);
  EXPECT_EQ(waiting.call.from, 2);
}

TEST(Activity, AGroupThatGoesMakesRoomAndOneTooManyIsOnlyProgress) {
  Activity activity;
  for (int i = 0; i < ActivitySnapshot::kMaxGroups; ++i) {
    EXPECT_EQ(activity.AddGroup(100 + i, "tensor", 0), i);
  }
  const int unlisted = activity.AddGroup(999, "tensor", 0);
  activity.Begin(unlisted, Operation::kAllReduce, 4);
  EXPECT_EQ(activity.Snapshot().call.group, -1);
  activity.Leave();
  activity.RemoveGroup(unlisted);
  activity.RemoveGroup(3);
  EXPECT_EQ(activity.AddGroup(1000, "tensor", 0), 3);
  EXPECT_EQ(activity.Snapshot().groups[3].id, 1000u);
}

TEST(Activity, TheStepLimitFollowsTheStepsAfterTheFirstFive) {
  using std::chrono::milliseconds;
  Activity activity;
  const auto step = [&](int64_t number, milliseconds time) {
    activity.SetPhase(Phase::kTraining, number);
    std::this_thread::sleep_for(time);
  };
  step(1, milliseconds(200));  // the first ones are slow and do not count
  for (int64_t i = 2; i <= 5; ++i) step(i, milliseconds(1));
  activity.SetPhase(Phase::kTraining, 6);
  EXPECT_EQ(activity.Snapshot().step_limit_seconds, 0);
  std::this_thread::sleep_for(milliseconds(10));
  // Time outside training is no step.
  activity.SetPhase(Phase::kSave, 6);
  std::this_thread::sleep_for(milliseconds(100));
  for (int64_t i = 7; i <= 10; ++i) step(i, milliseconds(10));
  activity.SetPhase(Phase::kTraining, 11);
  double limit = activity.Snapshot().step_limit_seconds;
  EXPECT_GE(limit, 0.12) << "twelve times the median";
  EXPECT_LT(limit, 0.5);
  std::this_thread::sleep_for(milliseconds(100));
  activity.SetPhase(Phase::kTraining, 12);
  EXPECT_GE(activity.Snapshot().step_limit_seconds, 0.5) << "five times the "
                                                            "slowest";
}

// For ThreadSanitizer above all.
TEST(Activity, IsReadWhileItIsWritten) {
  constexpr int64_t kCalls = 1000000;
  Activity activity;
  const int group = activity.AddGroup(1, "world", 0);
  std::atomic<bool> done = false;
  std::thread reader([&] {
    uint64_t last = 0;
    while (!done) {
      const ActivitySnapshot snapshot = activity.Snapshot();
      EXPECT_GE(snapshot.progress, last);
      last = snapshot.progress;
    }
  });
  for (int64_t i = 0; i < kCalls; ++i) {
    activity.Begin(group, Operation::kAllReduce, i);
    activity.Leave();
    if (i % 100 == 0) {
      activity.SetPhase(Phase::kTraining, i);
      activity.RemoveGroup(activity.AddGroup(2, "data", 0));
    }
  }
  done = true;
  reader.join();
  const ActivitySnapshot snapshot = activity.Snapshot();
  EXPECT_EQ(snapshot.call.sequence, kCalls);
  EXPECT_EQ(snapshot.call.bytes, kCalls - 1);
}

}  // namespace
}  // namespace lextra
