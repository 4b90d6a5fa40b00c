// Skipped steps: counted, ended where they are too many, and no success.
#include "trainer/step_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::HasSubstr;

constexpr StepResult kGood = {.loss = 1, .gradient_norm = 1};

StepResult NotFinite() {
  StepResult result = kGood;
  result.skipped = true;
  result.not_finite = true;
  return result;
}

StepResult Spike() {
  StepResult result = kGood;
  result.skipped = true;
  return result;
}

class StepGuardTest : public ::testing::Test {
 protected:
  StepGuardTest() { config_.mutable_optimizer()->set_max_consecutive_skips(2); }

  absl::Status Judge(const StepResult& result) {
    state_.set_step(state_.step() + 1);
    return guard_.Judge(result);
  }

  RunConfig config_;
  TrainingState state_;
  StepGuard guard_{config_, state_};
};

TEST_F(StepGuardTest, RefusesMoreStepsInARowThanAllowed) {
  EXPECT_TRUE(Judge(kGood).ok());
  EXPECT_TRUE(Judge(NotFinite()).ok());
  EXPECT_TRUE(Judge(NotFinite()).ok());
  const absl::Status third = Judge(NotFinite());
  EXPECT_EQ(ExitCodeOf(third), ExitCode::kNumeric);
  EXPECT_THAT(std::string(third.message()), HasSubstr("3 consecutive steps"));
  EXPECT_THAT(std::string(third.message()),
              HasSubstr("inspect the data of step 2"));
}

TEST_F(StepGuardTest, AGoodStepStartsTheCountAgain) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Judge(NotFinite()).ok());
    EXPECT_TRUE(Judge(NotFinite()).ok());
    EXPECT_TRUE(Judge(kGood).ok());
  }
  EXPECT_EQ(state_.skipped_steps(), 10u);
  EXPECT_TRUE(guard_.CheckEnd().ok());
}

TEST_F(StepGuardTest, SpikesAreSkippedWithoutLimitButAreNoTraining) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Judge(Spike()).ok());
  EXPECT_EQ(ExitCodeOf(guard_.CheckEnd()), ExitCode::kNumeric);
  EXPECT_TRUE(Judge(kGood).ok());
  EXPECT_TRUE(guard_.CheckEnd().ok());
}

TEST_F(StepGuardTest, AnEndInStepsThatAreNotFiniteIsNoSuccess) {
  EXPECT_TRUE(Judge(kGood).ok());
  EXPECT_TRUE(Judge(NotFinite()).ok());
  EXPECT_THAT(std::string(guard_.CheckEnd().message()),
              HasSubstr("the last 1 step(s), up to step 2"));
}

}  // namespace
}  // namespace lextra
