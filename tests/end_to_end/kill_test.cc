// Ranks that die by SIGKILL, at random moments and at every named point of a
// save: the same command, started again without a person, brings the run to the
// same end, bit for bit.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <random>
#include <regex>

#include "absl/strings/str_format.h"
#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
constexpr int kManyRanks = 4;  // of runs that are killed at random
constexpr int kFewRanks = 2;   // of those that are killed at a point
constexpr int kSteps = 12;
constexpr int kManySteps = 60;

// Where a save, or the deletion after it, can be cut off, in its order
// (base/io/system_calls.h, KillPoint), and whether all ranks come there.
struct KillPoint {
  const char* name;
  bool on_all_ranks = false;
  int pass = 2;  // of this rank; the second save's, as the first is there then
};
constexpr KillPoint kPoints[] = {{"save_begun"},
                                 {"copied", true},
                                 {"shard_created", true},
                                 {"box_written", true, 500},
                                 {"shard_written", true},
                                 {"shard_durable", true},
                                 {"gathered", true},
                                 {"manifest_written"},
                                 {"manifest_durable"},
                                 {"folder_durable"},
                                 {"renamed"},
                                 {"committed"},
                                 {"named_latest"},
                                 {"marked"},
                                 {"trashed"},
                                 {"pruned"}};

class KillTest : public EndToEndTest {
 protected:
  static Arguments TrainOn(int num_ranks, const std::string& run_folder,
                           int num_steps, int steps_between_saves) {
    return LextraOn(
        num_ranks,
        Train(run_folder, {"parallel.data=2",
                           "parallel.tensor=" + std::to_string(num_ranks / 2),
                           "schedule.num_steps=" + std::to_string(num_steps),
                           "evaluation.validation_interval_steps=0",
                           "checkpoint.interval_steps=" +
                               std::to_string(steps_between_saves)}));
  }

  static std::string LastStep(const std::string& run_folder, int num_steps) {
    return absl::StrFormat("%s/step-%08d", run_folder, num_steps);
  }

  // The run ended like the undisturbed one.
  static void ExpectSameEnd(const std::string& run, const std::string& whole,
                            int num_steps) {
    EXPECT_EQ(LossesOf(run), LossesOf(whole));
    EXPECT_EQ(BatchHashesOf(run), BatchHashesOf(whole));
    const auto checksums = ChecksumsOf(LastStep(run, num_steps));
    EXPECT_FALSE(checksums.empty());
    EXPECT_EQ(checksums, ChecksumsOf(LastStep(whole, num_steps)));
  }

  static void ExpectNothingLeftBehind(const std::string& run) {
    for (const auto& entry : fs::directory_iterator(run)) {
      const std::string name = entry.path().filename();
      EXPECT_FALSE(name.starts_with(".")) << name;
    }
  }

  std::mt19937_64 random_{std::random_device()()};
};

// The last step that a pattern finds in a log; 0 where it finds none.
int StepIn(const std::string& pattern, const std::string& log) {
  int step = 0;
  const std::regex regex(pattern);
  for (std::sregex_iterator match(log.begin(), log.end(), regex), end;
       match != end; ++match) {
    step = std::stoi((*match)[1]);
  }
  return step;
}

// False where the job ended before its rank was killed; it is complete then.
bool StartAndKill(const Arguments& command, double seconds, size_t rank,
                  int* num_launchers_hung) {
  const ProcessResult result =
      KillARank(command, seconds, rank, num_launchers_hung);
  if (result.exit_code != 0) return true;
  // Its last step was saved now, or before a kill that came between that save
  // and the end of its process.
  EXPECT_EQ(
      std::max(StepIn(absl::StrFormat("step +([0-9]+)/%d . checkpoint saved",
                                      kManySteps),
                      result.output),
               StepIn("resumed from .*: step ([0-9]+),", result.output)),
      kManySteps)
      << "a success without its last step: " << result.output;
  return false;
}

TEST_F(KillTest, RunsKilledAtRandomEndAsIfNothingHadHappened) {
  const std::string whole = Path("undisturbed");
  const ProcessResult undisturbed =
      RunWell(TrainOn(kManyRanks, whole, kManySteps, 0));
  const int num_kills = CountFrom("LEXTRA_RANDOM_KILLS", 12);
  int num_killed = 0;
  int num_launchers_hung = 0;
  int num_runs = 0;
  while (num_killed < num_kills) {
    const std::string run = Path("killed");
    fs::remove_all(run);
    const int saves = 1 + static_cast<int>(random_() % 4);
    const Arguments command = TrainOn(kManyRanks, run, kManySteps, saves);
    // A few kills for each run, the first anywhere from its start to its end.
    for (int i = 0; i < 8 && num_killed < num_kills; ++i) {
      const double seconds =
          undisturbed.seconds * static_cast<double>(random_() % 1000) / 1000;
      if (!StartAndKill(command, seconds, random_() % kManyRanks,
                        &num_launchers_hung)) {
        break;
      }
      ++num_killed;
    }
    ++num_runs;
    RunWell(command);
    ExpectSameEnd(run, whole, kManySteps);
    ExpectNothingLeftBehind(run);
    EXPECT_LE(num_launchers_hung, 1 + num_killed / 100);
    if (HasFailure()) return;
    // Each time: a long run that is cut short has its count too.
    std::printf(
        "random kills: %d in %d runs, all ended the same; mpirun hung %d "
        "times\n",
        num_killed, num_runs, num_launchers_hung);
    std::fflush(stdout);
  }
}

TEST_F(KillTest, AKillAtAnyPointOfASaveLosesNothingThatWasReported) {
  const std::string whole = Path("whole");
  RunWell(TrainOn(kFewRanks, whole, kSteps, 0));
  int num_killed = 0;
  for (const KillPoint& point : kPoints) {
    for (int rank = 0; rank < (point.on_all_ranks ? 2 : 1); ++rank) {
      SCOPED_TRACE(absl::StrFormat("%s on rank %d", point.name, rank));
      const std::string run = Path("killed-at-a-point");
      fs::remove_all(run);
      const Arguments command = TrainOn(kFewRanks, run, kSteps, 2);
      const ProcessResult killed =
          RunProcess(WithFaults(absl::StrFormat("@%s:%d:kill:rank=%d",
                                                point.name, point.pass, rank),
                                command),
                     kLimitSeconds);
      EXPECT_EQ(killed.exit_code, 137) << killed.output;
      ++num_killed;
      const ProcessResult resumed =
          RunWell(command + Arguments{"--resume=must"});
      EXPECT_EQ(LineWith("set aside", resumed.output), "");
      EXPECT_GE(StepIn("resumed from .*: step ([0-9]+),", resumed.output),
                StepIn("step +([0-9]+)/12 . checkpoint saved", killed.output));
      ExpectSameEnd(run, whole, kSteps);
      ExpectNothingLeftBehind(run);
      if (HasFailure()) return;
    }
  }
  std::printf("kills at named points: %d, all ended the same\n", num_killed);
}

}  // namespace
}  // namespace lextra::testing
