// Work without a collective for several times the watchdog's limits: what makes
// progress piece by piece finishes, and what hangs is named. The limits are 3 s
// instead of 60 and 300; `deploy/checks/reliability.sh slow` runs the defaults.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDefaultTimeout[] = "60";

// Limits in seconds, and delays as long as a third of them: as short as a busy
// machine allows, or those that people have.
bool IsFullLength() { return std::getenv("LEXTRA_FULL_LENGTH") != nullptr; }
std::string Timeout() { return IsFullLength() ? kDefaultTimeout : "3"; }
std::string Delay() { return IsFullLength() ? "delay=40" : "delay=1"; }
// Of the whole program, with two ranks.
constexpr double kFullLengthSeconds = 3600;

class SlowWorkTest : public EndToEndTest {
 protected:
  // 12 layers: an evaluation's piece is 12 pieces of work. 10 micro batches a
  // step and rank.
  static Arguments Training(const std::string& run_folder, int last_step) {
    return Train(
        run_folder,
        {"--stop_at_step=" + std::to_string(last_step), "model.num_layers=12",
         "data.global_batch_size=20", "data.micro_batch_size=1",
         "evaluation.validation_interval_steps=0",
         "parallel.timeout_seconds=" + Timeout()});
  }
  static Arguments Evaluating(const std::string& run_folder) {
    return {"evaluate",
            "--checkpoint=" + run_folder,
            "--results_dir=" + run_folder + "-results",
            "evaluation.masks=[CAUSAL]",
            "evaluation.lengths=[64]",
            "evaluation.max_tokens=640",
            "evaluation.segment_tokens=64",
            "parallel.data=2",
            "parallel.timeout_seconds=" + Timeout()};
  }
  static ProcessResult Run(const std::string& faults,
                           const Arguments& arguments) {
    Arguments limits = {"env"};
    if (!IsFullLength()) limits.push_back("LEXTRA_PATIENCE_SECONDS=3");
    return RunProcess(limits + WithFaults(faults, LextraOn(2, arguments)),
                      IsFullLength() ? kFullLengthSeconds : kLimitSeconds);
  }

  static void ExpectSuccess(const ProcessResult& result, double pieces) {
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, Not(HasSubstr("watchdog")));
    EXPECT_GE(result.seconds, IsFullLength() ? 40 * pieces : pieces);
  }
};

TEST_F(SlowWorkTest, ALongStepALongSaveAndALongLoadComeToTheirEnd) {
  const std::string run = Path("run");
  ExpectSuccess(Run("@micro_batch:1-10:" + Delay() +
                        ":rank=1;write:2-11:" + Delay() + ":path=shard-:rank=0",
                    Training(run, 1)),
                20);
  ExpectSuccess(
      Run("read:3-12:" + Delay() + ":path=shard-:rank=1", Training(run, 2)),
      10);
}

TEST_F(SlowWorkTest, AnEvaluationOfLongPiecesComesToItsEnd) {
  RunWell(LextraOn(2, Training(Path("trained"), 1)));
  // Rank 0 reads the checkpoint and the tokens slowly, then scores slowly.
  ExpectSuccess(Run("read:3-12:" + Delay() + ":path=shard-:rank=0;" +
                        "@tokens_read:1-10:" + Delay() + ":rank=0;" +
                        "@layer:1-12:" + Delay() + ":rank=0",
                    Evaluating(Path("trained"))),
                32);
}

void ExpectNamed(const ProcessResult& result, const std::string& phase) {
  EXPECT_EQ(result.exit_code, 6) << result.output;
  EXPECT_THAT(result.output,
              ContainsRegex("\\[rank 0 host .*\\] error: watchdog: rank 1 "
                            "\\(host [^ ]+\\) \\[" +
                            phase + ".*\\] made no progress for [0-9.]+ s "));
}

TEST_F(SlowWorkTest, WhatHangsIsNamed) {
  if (IsFullLength()) {
    GTEST_SKIP() << "a hang under the default limits: 300 s of nothing else";
  }
  const std::string run = Path("standing");
  const std::string forever = ":delay=1000000:rank=1";
  // In a step, in the write of a save that the rank waits for, in a load.
  ExpectNamed(Run("@micro_batch:5" + forever, Training(run, 1)),
              "training, step 1");
  ExpectNamed(Run("write:4" + forever + ":path=shard-", Training(run, 1)),
              "save, step 1");
  RunWell(LextraOn(2, Training(run, 1)));
  ExpectNamed(Run("read:4" + forever + ":path=shard-", Training(run, 2)),
              "load");
  ExpectNamed(Run("@layer:5" + forever, Evaluating(run)), "evaluation");
}

}  // namespace
}  // namespace lextra::testing
