// Ranks as their watchdog sees them, and whom it must name.
#include "parallel/watchdog/hang_diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;

constexpr WatchLimits kLimits = {.silence_seconds = 10, .idle_seconds = 60};
constexpr int kWorld = 0;
constexpr int kAxis = 1;

// A rank in steady training that has begun `world` and `axis` collectives.
RankState Rank(int rank, uint64_t world, uint64_t axis = 0,
               uint64_t axis_id = 2, int axis_rank = 0) {
  RankState state;
  state.host = "node" + std::to_string(rank);
  state.activity.phase = Phase::kTraining;
  state.activity.step = 12;
  state.activity.step_limit_seconds = 1;
  state.activity.groups[kWorld] = {
      .id = 1, .axis = {"world"}, .rank = rank, .num_collectives = world};
  state.activity.groups[kAxis] = {.id = axis_id,
                                  .axis = {"data"},
                                  .rank = axis_rank,
                                  .num_collectives = axis};
  state.activity.call = {.operation = Operation::kAllReduce,
                         .group = kWorld,
                         .sequence = world,
                         .bytes = 8};
  return state;
}

RankState In(RankState state, int group,
             Operation operation = Operation::kAllReduce, int from = -1) {
  state.activity.in_call = true;
  state.activity.call = {
      .operation = operation,
      .group = group,
      .from = from,
      .sequence = state.activity.groups[group].num_collectives,
      .bytes = 400};
  return state;
}

RankState Idle(RankState state, double seconds) {
  state.idle_seconds = seconds;
  return state;
}

RankState Silent(RankState state, double seconds) {
  state.silent_seconds = seconds;
  return state;
}

RankState Finished(RankState state) {
  state.finished = true;
  return state;
}

Diagnosis DiagnosisOf(const std::vector<RankState>& ranks) {
  return Diagnose(ranks, kLimits).value_or(Diagnosis{{}, "nothing"});
}

TEST(Diagnose, SaysNothingWithinTheLimits) {
  EXPECT_FALSE(Diagnose(
      {Idle(In(Rank(0, 5), kWorld), 59), Idle(Silent(Rank(1, 4), 9), 59)},
      kLimits));
}

TEST(Diagnose, NamesTheRankThatHasNotEnteredTheCollective) {
  const Diagnosis diagnosis =
      DiagnosisOf({Idle(In(Rank(0, 345), kWorld), 61), Idle(Rank(1, 344), 61),
                   Idle(In(Rank(2, 345), kWorld), 61)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_EQ(diagnosis.report,
            "watchdog: rank 1 (host node1) [training, step 12, last finished "
            "AllReduce 344 on axis world (8 bytes)] made no progress for 61.0 "
            "s outside any collective; ranks 0, 2 are waiting in AllReduce 345 "
            "on axis world (400 bytes) for rank 1");
}

TEST(Diagnose, NamesASilentRankBeforeItsVictimsAreOverdue) {
  const Diagnosis diagnosis =
      DiagnosisOf({Idle(In(Rank(0, 345), kWorld), 10.5),
                   Silent(Idle(In(Rank(1, 344), kWorld), 11), 10.5)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_THAT(
      diagnosis.report,
      AllOf(HasSubstr("no heartbeat from rank 1 (host node1) [training, "
                      "step 12, in AllReduce 344"),
            HasSubstr("] for 10.5 s: the process is stopped"),
            HasSubstr("; rank 0 is waiting in AllReduce 345 on axis "
                      "world (400 bytes) for rank 1")));
}

TEST(Diagnose, SaysOfOneKnownRankOnlyWhatIsKnown) {
  const Diagnosis diagnosis = DiagnosisOf({Silent(Rank(0, 5), 10.5)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0));
  EXPECT_EQ(diagnosis.report,
            "watchdog: no heartbeat from rank 0 (host node0) [training, step "
            "12, last finished AllReduce 5 on axis world (8 bytes)] for 10.5 "
            "s: the process is stopped, or its host or network link is down");
}

TEST(Diagnose, AVictimOfAnotherAxisIsNotNamed) {
  // 2 x 2: rank 3 hangs; 2 waits for it on its axis, 0 and 1 wait for 2 and 3
  // in the world.
  const Diagnosis diagnosis =
      DiagnosisOf({Idle(In(Rank(0, 9, 4, 2, 0), kWorld), 70),
                   Idle(In(Rank(1, 9, 4, 2, 1), kWorld), 70),
                   Idle(In(Rank(2, 8, 4, 3, 0), kAxis), 65),
                   Idle(Rank(3, 8, 3, 3, 1), 65)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(3));
  EXPECT_THAT(diagnosis.report, HasSubstr("rank 2 is waiting in AllReduce 4 on "
                                          "axis data (400 bytes) for rank 3"));
}

TEST(Diagnose, GroupsOfOneAxisAreToldApart) {
  // Ranks 0 and 1 are the group 2, ranks 2 and 3 the group 3, whose counts are
  // lower without any fault.
  const Diagnosis diagnosis = DiagnosisOf(
      {Idle(In(Rank(0, 8, 9, 2, 0), kAxis), 65), Idle(Rank(1, 8, 8, 2, 1), 65),
       Rank(2, 8, 3, 3, 0), Rank(3, 8, 3, 3, 1)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
}

TEST(Diagnose, WaitingForARankThatGetsOnIsNoHang) {
  // Rank 1 still scores its documents.
  EXPECT_FALSE(Diagnose(
      {Idle(In(Rank(0, 5), kWorld), 1000), Idle(Rank(1, 4), 3)}, kLimits));
  // So does rank 2, behind rank 1.
  EXPECT_FALSE(Diagnose(
      {Idle(In(Rank(0, 5, 4, 2, 0), kWorld), 1000),
       Idle(In(Rank(1, 4, 7, 3, 0), kAxis), 900), Idle(Rank(2, 4, 6, 3, 1), 3)},
      kLimits));
}

TEST(Diagnose, SaysWhenNoRankIsMissing) {
  const Diagnosis diagnosis =
      DiagnosisOf({Idle(In(Rank(0, 5), kWorld), 61),
                   Idle(In(Rank(1, 5), kWorld, Operation::kBroadcast), 61)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0, 1));
  EXPECT_THAT(diagnosis.report,
              AllOf(HasSubstr("every rank entered it"),
                    HasSubstr("in AllReduce 5"), HasSubstr("in Broadcast 5")));
}

TEST(Diagnose, SaysWhenRanksWaitForEachOther) {
  const Diagnosis diagnosis = DiagnosisOf({Idle(In(Rank(0, 5, 4), kWorld), 61),
                                           Idle(In(Rank(1, 4, 5), kAxis), 62)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(0, 1));
  EXPECT_THAT(diagnosis.report, HasSubstr("waiting for each other for 62.0 s"));
}

TEST(Diagnose, AnExchangeWaitsOnlyForTheRankItReceivesFrom) {
  const auto exchanging = [](int rank, int from) {
    return Idle(
        In(Rank(rank, 4, 0, 2, rank), kAxis, Operation::kSendReceive, from),
        61);
  };
  // 0 <- 2 <- 1, which does not come.
  const Diagnosis diagnosis =
      DiagnosisOf({exchanging(0, 2), Idle(Rank(1, 4, 0, 2, 1), 61),
                   exchanging(2, 1), Rank(3, 4, 0, 2, 3)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_THAT(diagnosis.report, HasSubstr("SendReceive"));
}

TEST(Diagnose, NamesARankThatLeftWhileOthersWait) {
  const Diagnosis diagnosis = DiagnosisOf(
      {Idle(In(Rank(0, 5), kWorld), 61), Finished(Idle(Rank(1, 4), 62))});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
}

TEST(Diagnose, RanksThatFinishedMayBeSilentAndIdle) {
  EXPECT_FALSE(Diagnose(
      {Idle(Rank(0, 5), 30), Finished(Silent(Idle(Rank(1, 5), 4000), 4000))},
      kLimits));
}

TEST(Diagnose, ARankAloneInItsHangIsNamedToo) {
  const Diagnosis diagnosis = DiagnosisOf({Rank(0, 5), Idle(Rank(1, 4), 61)});
  EXPECT_THAT(diagnosis.culprits, ElementsAre(1));
  EXPECT_THAT(diagnosis.report, HasSubstr("no rank is waiting for it yet"));
}

TEST(Diagnose, NamesSixteenOfManyAndCountsTheRest) {
  std::vector<RankState> ranks = {Idle(In(Rank(0, 5), kWorld), 61)};
  for (int rank = 1; rank < 1000; ++rank) {
    ranks.push_back(Idle(Rank(rank, 4), 61));
  }
  const Diagnosis diagnosis = DiagnosisOf(ranks);
  EXPECT_EQ(diagnosis.culprits.size(), 999u);
  EXPECT_THAT(diagnosis.report,
              AllOf(HasSubstr("983 more"), Not(HasSubstr("rank 17 "))));
}

TEST(LongWaits, AreThoseOfRanksInCallsForHalfTheirLimit) {
  const std::vector<RankState> ranks = {
      Idle(In(Rank(0, 5), kWorld), 31), Idle(In(Rank(1, 5), kWorld), 29),
      Idle(Rank(2, 4), 400), Idle(In(Rank(3, 4), kWorld), 400)};
  const auto waits = LongWaits(ranks, kLimits);
  ASSERT_EQ(waits.size(), 4u);
  EXPECT_THAT(waits[0], Optional(ElementsAre(2, 3)));
  EXPECT_FALSE(waits[1]);
  EXPECT_FALSE(waits[2]);
  EXPECT_THAT(waits[3], Optional(IsEmpty()));
}

TEST(IdleLimitSeconds, IsPatientUnlessStepsAreSteady) {
  struct Case {
    Phase phase;
    double step_limit;
    double timeout;
    double expected;
  };
  const Case cases[] = {
      {Phase::kStartUp, 0, 60, 300},     {Phase::kStartUp, 0, 1000, 1000},
      {Phase::kLoad, 0, 60, 300},        {Phase::kTraining, 0, 60, 300},
      {Phase::kTraining, 5, 60, 60},     {Phase::kTraining, 90, 60, 90},
      {Phase::kValidation, 5, 60, 60},   {Phase::kSave, 5, 60, 300},
      {Phase::kEvaluation, 0, 400, 400},
  };
  for (const Case& c : cases) {
    ActivitySnapshot activity;
    activity.phase = c.phase;
    activity.step_limit_seconds = c.step_limit;
    EXPECT_EQ(IdleLimitSeconds(activity, {10, c.timeout}), c.expected)
        << NameOf(c.phase) << " " << c.step_limit << " " << c.timeout;
  }
}

}  // namespace
}  // namespace lextra
