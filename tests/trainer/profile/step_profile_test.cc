#include "trainer/profile/step_profile.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace lextra {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int64_t kMillisecond = 1'000'000;

// A profile whose clock advances only in Work().
class StepProfileTest : public ::testing::Test {
 protected:
  void Work(int64_t milliseconds) { now_ += milliseconds * kMillisecond; }

  void Scope(const char* name, int64_t milliseconds) {
    profile_.Enter(name);
    Work(milliseconds);
    profile_.Leave();
  }

  // 100 ms, of which loss 20, gemm 32, elementwise 5, other 43.
  void NestOfScopes() {
    profile_.BeginStep();
    Work(40);
    profile_.Enter("loss: cross entropy");
    Work(10);
    Scope("gemm: 2x3x4", 30);
    Scope("aten::exp", 6);
    Scope("aten::mm", 2);
    Work(4);
    profile_.Leave();
    Work(3);
    Scope("aten::add", 5);
    profile_.EndStep();
  }

  int64_t now_ = 0;
  StepProfile profile_{[this] { return now_; }};
};

TEST_F(StepProfileTest, AScopeCountsWithWhatItsInnerScopesLeave) {
  NestOfScopes();
  EXPECT_EQ(profile_.StepMilliseconds(), 100);
  EXPECT_EQ(profile_.Milliseconds("loss"), 20);
  EXPECT_EQ(profile_.Milliseconds("gemm"), 32);
  EXPECT_EQ(profile_.Milliseconds("elementwise"), 5);
  EXPECT_EQ(profile_.Milliseconds("other"), 43);
  EXPECT_EQ(profile_.Calls("gemm"), 2);
  EXPECT_EQ(profile_.Calls("loss"), 1);
}

TEST_F(StepProfileTest, MeansLeaveOutTheWarmUpWhereThereAreMoreSteps) {
  for (const int64_t milliseconds : {900, 300, 10, 30}) {
    profile_.BeginStep();
    profile_.Allocate(1000);
    Scope("norm: Normalize", milliseconds);
    profile_.EndStep();
    if (milliseconds == 300) {
      EXPECT_EQ(profile_.Milliseconds("norm"), 600);
    }
  }
  EXPECT_EQ(profile_.num_steps(), 2);
  EXPECT_EQ(profile_.Milliseconds("norm"), 20);
  EXPECT_EQ(profile_.Calls("norm"), 1);
  EXPECT_THAT(profile_.Table()[0], HasSubstr("mean of 2 steps"));
}

TEST_F(StepProfileTest, TheTableIsSortedAndItsSharesAddUp) {
  NestOfScopes();
  const std::vector<std::string> table = profile_.Table();
  const std::vector<std::string> phases = {"gemm", "loss", "elementwise",
                                           "other", "all"};
  double sum = 0;
  ASSERT_GE(table.size(), 2 + phases.size());
  for (size_t i = 0; i < phases.size(); ++i) {
    std::istringstream line(table[2 + i]);
    std::string phase;
    double milliseconds = 0;
    double share = 0;
    line >> phase >> milliseconds >> share;
    EXPECT_EQ(phase, phases[i]);
    EXPECT_EQ(milliseconds, share) << "of a step of 100 ms";
    if (phase != "all") sum += share;
  }
  EXPECT_EQ(sum, 100);
}

TEST_F(StepProfileTest, MemoryIsCountedAndItsPeakIsWhatTheStepHeldAtOnce) {
  profile_.BeginStep();
  for (const int64_t bytes : {3'000'000, 2'000'000, -3'000'000, 1'000'000}) {
    profile_.Allocate(bytes);
  }
  profile_.EndStep();
  EXPECT_THAT(profile_.Table(),
              ::testing::Contains(HasSubstr(
                  "3.0 allocations per step, 6.00 MB, peak 5.00 MB")));
}

TEST_F(StepProfileTest, TheTraceHoldsTheLastStepsAndItsEventsNest) {
  for (int step = 0; step < 5; ++step) NestOfScopes();
  const json trace = json::parse(profile_.Trace(/*rank=*/3));
  std::vector<json> steps;
  std::vector<json> events;
  for (const json& event : trace.at("traceEvents")) {
    EXPECT_EQ(event.at("pid"), 3);
    if (event.at("ph") != "X") continue;
    (event.at("name") == "step" ? steps : events).push_back(event);
  }
  ASSERT_EQ(steps.size(), StepProfile::kTracedSteps);
  EXPECT_EQ(events.size(), 5 * StepProfile::kTracedSteps);
  EXPECT_EQ(steps[0].at("ts"), 200'000);
  const auto encloses = [](const json& outer, const json& inner) {
    const double begin = inner.at("ts");
    const double end = begin + inner.at("dur").get<double>();
    return outer.at("ts") <= begin &&
           end <= outer.at("ts").get<double>() + outer.at("dur").get<double>();
  };
  for (const json& event : events) {
    EXPECT_EQ(
        std::count_if(steps.begin(), steps.end(),
                      [&](const json& step) { return encloses(step, event); }),
        1)
        << event;
    const bool in_loss =
        std::any_of(events.begin(), events.end(), [&](const json& other) {
          return other.at("cat") == "loss" && other != event &&
                 encloses(other, event);
        });
    EXPECT_EQ(in_loss, event.at("name") != "aten::add" &&
                           event.at("name") != "loss: cross entropy")
        << event;
  }
}

TEST_F(StepProfileTest, AScopeFromBeforeTheStepIsNotTheSteps) {
  profile_.BeginStep();
  profile_.Leave();
  Work(7);
  profile_.Enter("left open");
  profile_.EndStep();
  EXPECT_EQ(profile_.StepMilliseconds(), 7);
  EXPECT_EQ(profile_.Milliseconds("other"), 7);
}

TEST(PhaseOf, TellsOurScopesOperatorsAndAutogradApart) {
  EXPECT_EQ(PhaseOf("gemm: 1x2x3").phase, "gemm");
  EXPECT_EQ(PhaseOf("aten::addmm").phase, "gemm");
  EXPECT_EQ(PhaseOf("aten::_flash_attention_forward").phase, "attention");
  EXPECT_EQ(PhaseOf("aten::gelu_backward").phase, "activation");
  EXPECT_EQ(PhaseOf("aten::empty_strided").phase, "allocator");
  EXPECT_EQ(PhaseOf("aten::mul_").phase, "elementwise");
  EXPECT_EQ(PhaseOf("aten::narrow").phase, "other");
  EXPECT_EQ(PhaseOf("autograd::engine::evaluate_function: MulBackward0").phase,
            "other");
  EXPECT_EQ(PhaseOf("MulBackward0").phase, "other");
  EXPECT_TRUE(PhaseOf("aten::mul_").inherits);
  EXPECT_FALSE(PhaseOf("aten::mm").inherits);
}

}  // namespace
}  // namespace lextra
