#include "trainer/optimizer/lr_schedule.h"

#include <gtest/gtest.h>

namespace lextra {
namespace {

ScheduleConfig Schedule(Decay decay) {
  ScheduleConfig schedule;
  schedule.set_num_steps(101);
  schedule.set_warmup_steps(10);
  schedule.set_learning_rate(1.0);
  schedule.set_min_learning_rate(0.1);
  schedule.set_decay(decay);
  return schedule;
}

TEST(LearningRate, WarmsUpLinearlyFromTheFirstStep) {
  EXPECT_DOUBLE_EQ(LearningRate(Schedule(COSINE), 0), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(Schedule(COSINE), 4), 0.5);
  EXPECT_DOUBLE_EQ(LearningRate(Schedule(COSINE), 9), 1.0);
}

TEST(LearningRate, DecaysFromPeakToMinimumAtTheLastStep) {
  for (const Decay decay : {COSINE, LINEAR}) {
    EXPECT_DOUBLE_EQ(LearningRate(Schedule(decay), 10), 1.0);
    EXPECT_NEAR(LearningRate(Schedule(decay), 55), 0.55, 1e-12);
    EXPECT_NEAR(LearningRate(Schedule(decay), 100), 0.1, 1e-12);
  }
  EXPECT_GT(LearningRate(Schedule(COSINE), 30),
            LearningRate(Schedule(LINEAR), 30));
}

// However long the warm-up is; one that leaves no step is no decay.
TEST(LearningRate, EndsAtTheMinimumWhereverAStepFollowsTheWarmUp) {
  for (const Decay decay : {COSINE, LINEAR}) {
    ScheduleConfig schedule = Schedule(decay);
    for (const int64_t warmup : {0, 1, 98, 99, 100}) {
      schedule.set_warmup_steps(warmup);
      EXPECT_NEAR(LearningRate(schedule, 100), 0.1, 1e-12) << warmup;
      if (warmup > 0) {
        EXPECT_DOUBLE_EQ(LearningRate(schedule, warmup - 1), 1) << warmup;
      }
    }
    schedule.set_warmup_steps(101);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, 100), 1);
  }
  ScheduleConfig constant = Schedule(CONSTANT);
  constant.set_warmup_steps(100);
  EXPECT_DOUBLE_EQ(LearningRate(constant, 100), 1);
}

TEST(LearningRate, ConstantStaysAtThePeak) {
  EXPECT_DOUBLE_EQ(LearningRate(Schedule(CONSTANT), 100), 1.0);
}

TEST(LearningRate, HasNoWarmUpWhereNoneIsAsked) {
  ScheduleConfig schedule = Schedule(LINEAR);
  schedule.set_warmup_steps(0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 0), 1.0);
}

}  // namespace
}  // namespace lextra
