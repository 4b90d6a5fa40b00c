// Runs that meet damage, failing storage, another job or another layout, and
// what they do about it without a person.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/str_format.h"
#include "checkpoint/files/manifest.h"
#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/tolerances.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Step(const std::string& run_folder, int step) {
  return absl::StrFormat("%s/step-%08d", run_folder, step);
}

void FlipABit(const std::string& path, int64_t place) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(place);
  const char byte = static_cast<char>(file.peek() ^ 4);
  file.seekp(place);
  file.put(byte);
  ASSERT_TRUE(file.good()) << path;
}

// Paths in the folder whose names begin so.
Arguments Named(const std::string& run_folder, const std::string& prefix) {
  Arguments paths;
  for (const auto& entry : fs::directory_iterator(run_folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(prefix)) paths.push_back(entry.path());
  }
  return paths;
}

size_t NumDamaged(const std::string& run_folder) {
  return Named(run_folder, ".bad-").size();
}

class RecoveryTest : public EndToEndTest {
 protected:
  // Two ranks that save every fifth of 20 steps and keep all.
  static Arguments TrainTwoRanks(const std::string& run_folder,
                                 const Arguments& more = {}) {
    return LextraOn(
        2, Train(run_folder,
                 Arguments{"parallel.tensor=2", "checkpoint.interval_steps=5",
                           "checkpoint.keep_every=5"} +
                     more));
  }
};

TEST_F(RecoveryTest, ResumesFromTheNewestIntactCheckpointInTheSameLaunch) {
  const std::string whole = Path("whole");
  RunWell(TrainTwoRanks(whole));
  // Ways to damage a step folder.
  const std::function<void(const std::string&)> damages[] = {
      [](const std::string& step) {
        const std::string shard = step + "/shard-00001-of-00002.safetensors";
        FlipABit(shard, static_cast<int64_t>(fs::file_size(shard)) - 100);
      },
      [](const std::string& step) { FlipABit(step + "/MANIFEST.json", 300); },
      [](const std::string& step) {
        fs::resize_file(step + "/shard-00000-of-00002.safetensors", 5000);
      }};
  for (int num_damaged = 1; num_damaged <= 3; ++num_damaged) {
    SCOPED_TRACE(num_damaged);
    const std::string run = Path("damaged");
    fs::remove_all(run);
    fs::copy(whole, run, fs::copy_options::recursive);
    for (int i = 0; i < num_damaged; ++i) {
      damages[i](Step(run, 20 - 5 * i));
    }
    const ProcessResult resumed = RunWell(TrainTwoRanks(run));
    EXPECT_THAT(LineWith("resumed from", resumed.output),
                HasSubstr(Step(run, 20 - 5 * num_damaged)));
    EXPECT_EQ(NumDamaged(run), static_cast<size_t>(num_damaged));
    EXPECT_EQ(LossesOf(run), LossesOf(whole));
    EXPECT_EQ(ChecksumsOf(Step(run, 20)), ChecksumsOf(Step(whole, 20)));
  }
}

TEST_F(RecoveryTest, NeverStartsFromScratchWhereNoCheckpointIsWhole) {
  const std::string run = Path("all-damaged");
  RunWell(TrainTwoRanks(run));
  for (const int step : {5, 10, 15, 20}) {
    FlipABit(Step(run, step) + "/shard-00000-of-00002.safetensors", 4);
  }
  // The first launch sets them aside; the next one still knows.
  for (const char* words : {"none of its 4 checkpoint(s) is intact",
                            "all its checkpoints are corrupt"}) {
    const ProcessResult refused = RunProcess(TrainTwoRanks(run), kLimitSeconds);
    EXPECT_EQ(refused.exit_code, 4) << refused.output;
    EXPECT_THAT(LineWith("lextra: error:", refused.output), HasSubstr(words));
  }
  EXPECT_EQ(NumDamaged(run), 4u);
}

TEST_F(RecoveryTest, FollowsLinksAndNeverStartsFromScratchWhereStepsAreGone) {
  const std::string run = Path("linked");
  const std::string link = Step(run, 10);
  const auto train = [&](const std::string& last_step) {
    return Lextra(Train(run, {"--stop_at_step=" + last_step}));
  };
  RunWell(train("10"));
  fs::rename(link, Path("bulk"));
  fs::create_symlink(Path("bulk"), link);
  EXPECT_THAT(RunWell(train("12")).output, HasSubstr("resumed from " + link));
  EXPECT_EQ(LossesOf(run).size(), 12u);
  fs::remove_all(Step(run, 12));
  fs::rename(Path("bulk"), Path("unmounted"));
  const std::string metrics = ReadText(run + "/metrics.jsonl");
  const auto expect_refused = [&](const std::string& words) {
    const ProcessResult refused = RunProcess(train("12"), kLimitSeconds);
    EXPECT_EQ(refused.exit_code, 4) << refused.output;
    EXPECT_THAT(LineWith("lextra: error:", refused.output), HasSubstr(words));
    EXPECT_EQ(ReadText(run + "/metrics.jsonl"), metrics);
  };
  expect_refused(link + ": is a link to " + Path("bulk"));
  fs::remove(link);
  expect_refused("had checkpoints, as its latest shows");
  // As that line says.
  fs::remove(run + "/latest");
  RunWell(train("2"));
  EXPECT_EQ(LossesOf(run).size(), 2u);
  const Arguments aside = Named(run, "metrics.jsonl.");
  ASSERT_EQ(aside.size(), 1u);
  EXPECT_EQ(ReadText(aside[0]), metrics);
}

TEST_F(RecoveryTest, ARunThatDiedBeforeItsFirstSaveStartsAgain) {
  const std::string run = Path("died-early");
  const Arguments command = Lextra(Train(run, {"checkpoint.interval_steps=5"}));
  RunProcess(WithFaults("@copied:1:kill", command), kLimitSeconds);
  EXPECT_EQ(LossesOf(run).size(), 5u);
  const std::string metrics = ReadText(run + "/metrics.jsonl");
  RunWell(command);
  EXPECT_EQ(LossesOf(run).size(), 20u);
  const Arguments aside = Named(run, "metrics.jsonl.");
  ASSERT_EQ(aside.size(), 1u);
  EXPECT_EQ(ReadText(aside[0]), metrics);
}

TEST_F(RecoveryTest, ADeviceThatDamagesWhatItStoresEndsTheRun) {
  const std::string run = Path("damaging-device");
  const ProcessResult result = RunProcess(
      WithFaults("read:1-:flip:path=/shard:rank=1", TrainTwoRanks(run)),
      kLimitSeconds);
  EXPECT_EQ(result.exit_code, 8) << result.output;
  EXPECT_THAT(
      LineWith("lextra: error:", result.output),
      AllOf(HasSubstr("3 consecutive saves failed, the last of step 15"),
            HasSubstr("read back after the save")));
  EXPECT_EQ(LineWith("checkpoint saved", result.output), "");
  EXPECT_EQ(Named(run, ".failed-").size(), 1u);
  EXPECT_EQ(NumDamaged(run), 0u);
  EXPECT_TRUE(Named(run, "step-").empty());
}

TEST_F(RecoveryTest, ALastSaveThatIsNotReadBackAtOnceIsReadAgain) {
  const std::string run = Path("stumbling-device");
  // Each attempt reads twice before it gives up.
  const ProcessResult result = RunWell(WithFaults(
      "read:1-4:EIO:path=/shard", Lextra(Train(run, {"--stop_at_step=2"}))));
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("failed to save step 2 (2 consecutive failures)"),
                    HasSubstr("checkpoint saved")));
  EXPECT_FALSE(ChecksumsOf(Step(run, 2)).empty());
}

TEST_F(RecoveryTest, ALockThatCantBeReadIsNotCalledAnUnsharedFolder) {
  const ProcessResult result =
      RunProcess(WithFaults("read:1-:EIO:path=/LOCK:rank=1",
                            TrainTwoRanks(Path("unreadable-lock"))),
                 kLimitSeconds);
  EXPECT_EQ(result.exit_code, 8) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              AllOf(HasSubstr("LOCK: Input/output error"),
                    ::testing::Not(HasSubstr("does not see the folder"))));
}

TEST_F(RecoveryTest, ResumesFromTheStepThatIsAskedFor) {
  const std::string run = Path("set-back");
  RunWell(TrainTwoRanks(run));
  const std::map<int64_t, double> losses = LossesOf(run);
  const auto checksums = ChecksumsOf(Step(run, 20));
  const ProcessResult missing =
      RunProcess(TrainTwoRanks(run, {"--resume=7"}), kLimitSeconds);
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(LineWith("lextra: error:", missing.output),
              HasSubstr("there is no step-00000007"));
  const ProcessResult back = RunWell(TrainTwoRanks(run, {"--resume=10"}));
  EXPECT_THAT(back.output, AllOf(HasSubstr("resumed from " + Step(run, 10)),
                                 HasSubstr("reset to step 10")));
  EXPECT_EQ(LossesOf(run), losses);
  EXPECT_EQ(ChecksumsOf(Step(run, 20)), checksums);
}

TEST_F(RecoveryTest, SavesByTheClockOfRankZeroToo) {
  const std::string run = Path("by-the-clock");
  const ProcessResult result = RunWell(
      LextraOn(2, Train(run, {"parallel.data=2", "schedule.num_steps=200",
                              "evaluation.validation_interval_steps=0",
                              "checkpoint.interval_seconds=0.1"})));
  // Two hundred steps take a second or more; the last save is the end's.
  std::istringstream lines(result.output);
  int num_saves = 0;
  for (std::string line; std::getline(lines, line);) {
    num_saves += line.find("checkpoint saved") != std::string::npos;
  }
  EXPECT_GE(num_saves, 3) << result.output;
  EXPECT_LE(num_saves, 60) << result.output;
}

TEST_F(RecoveryTest, AFailedSaveKeepsTheTrainingGoing) {
  const std::string whole = Path("no-faults");
  RunWell(TrainTwoRanks(whole));
  const std::string run = Path("full-for-a-while");
  // The first save of rank 1 finds the disk full; later there is room.
  const ProcessResult result = RunWell(
      WithFaults("write:1-2:ENOSPC:path=/.tmp-:rank=1", TrainTwoRanks(run)));
  EXPECT_THAT(LineWith("failed to save", result.output),
              AllOf(HasSubstr("failed to save step 5 (1 consecutive failure)"),
                    HasSubstr("No space left on device")));
  EXPECT_FALSE(fs::exists(Step(run, 5)));
  EXPECT_EQ(LossesOf(run), LossesOf(whole));
  EXPECT_EQ(ChecksumsOf(Step(run, 20)), ChecksumsOf(Step(whole, 20)));
}

TEST_F(RecoveryTest, StorageThatStaysBrokenEndsTheRunWithItsOwnCode) {
  const std::string run = Path("full-forever");
  RunWell(TrainTwoRanks(run, {"--stop_at_step=5"}));
  const ProcessResult result =
      RunProcess(WithFaults("fsync:1-:EIO:path=/.tmp-", TrainTwoRanks(run)),
                 kLimitSeconds);
  EXPECT_EQ(result.exit_code, 8) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              AllOf(HasSubstr("3 consecutive saves failed"),
                    HasSubstr("Input/output error")));
  // Earlier checkpoints are intact, and the run resumes when it can.
  EXPECT_FALSE(ChecksumsOf(Step(run, 5)).empty());
  RunWell(TrainTwoRanks(run, {"--resume=must"}));
  EXPECT_EQ(LossesOf(run).size(), 20u);
}

TEST_F(RecoveryTest, LayoutsMayChangeMidRunAndTheTokensStayTheSame) {
  struct Leg {
    int data;
    int tensor;
    int last_step;
  };
  // Ranks: 1, 2, 4, 3, 2; the batch of 12 divides by each.
  const Leg legs[] = {{1, 1, 4}, {2, 1, 8}, {2, 2, 12}, {3, 1, 16}, {1, 2, 20}};
  const Arguments batch = {"data.global_batch_size=12"};
  const std::string whole = Path("one-rank");
  RunWell(Lextra(Train(whole, batch)));
  const std::string run = Path("many-layouts");
  for (const Leg& leg : legs) {
    RunWell(LextraOn(
        leg.data * leg.tensor,
        Train(
            run,
            batch + Arguments{
                        absl::StrFormat("parallel.data=%d", leg.data),
                        absl::StrFormat("parallel.tensor=%d", leg.tensor),
                        absl::StrFormat("--stop_at_step=%d", leg.last_step)})));
  }
  EXPECT_EQ(BatchHashesOf(run).size(), 20u);
  EXPECT_EQ(BatchHashesOf(run), BatchHashesOf(whole));
  const std::map<int64_t, double> expected = LossesOf(whole);
  double largest = 0;
  for (const auto& [step, loss] : LossesOf(run)) {
    const double error = std::abs(loss / expected.at(step) - 1);
    EXPECT_LE(error, testing::kOtherLayoutLoss) << "step " << step;
    largest = std::max(largest, error);
  }
  std::printf("layouts changed mid-run: losses within %.1e of one rank's\n",
              largest);
}

TEST_F(RecoveryTest, OfTwoJobsOnOneFolderOneWins) {
  const int num_races = CountFrom("LEXTRA_RACES", 3);
  for (int race = 0; race < num_races; ++race) {
    const std::string run = Path("contested");
    fs::remove_all(run);
    // Long enough for the other to find it running.
    const Arguments command =
        LextraOn(2, Train(run, {"parallel.tensor=2", "schedule.num_steps=400",
                                "evaluation.validation_interval_steps=0"}));
    Process first(command);
    Process second(command);
    const ProcessResult results[] = {first.Wait(kLimitSeconds),
                                     second.Wait(kLimitSeconds)};
    const int loser = results[0].exit_code == 0 ? 1 : 0;
    EXPECT_EQ(results[1 - loser].exit_code, 0) << results[1 - loser].output;
    EXPECT_EQ(results[loser].exit_code, 5) << results[loser].output;
    EXPECT_THAT(LineWith("lextra: error:", results[loser].output),
                AllOf(HasSubstr("in use by a running job"),
                      HasSubstr("process "), HasSubstr("on host ")));
    if (HasFailure()) return;
  }
  std::printf("two jobs on one folder: one winner in %d of %d\n", num_races,
              num_races);
}

TEST_F(RecoveryTest, AnotherDataSetUnderTheSameNameIsRefused) {
  const std::string run = Path("other-data");
  RunWell(Lextra(Train(run, {"--stop_at_step=2"})));
  Arguments other = Train(run);
  std::replace(other.begin(), other.end(), "data.train=" + TrainData(),
               "data.train=" + ValidationData());
  const ProcessResult result = RunProcess(Lextra(other), kLimitSeconds);
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              AllOf(HasSubstr("was trained on a different data set"),
                    HasSubstr("digest")));
}

// A byte between the pages that the fingerprint samples.
void ChangeAToken(const std::string& prefix) {
  FlipABit(prefix + ".bin", 6000);
}

TEST_F(RecoveryTest, DataChangedUnderEqualLengthsAreRefused) {
  const std::string run = Path("changed-data");
  RunWell(Lextra(Train(run, {"--stop_at_step=2"})));
  ChangeAToken(TrainData());
  const ProcessResult result = RunProcess(Lextra(Train(run)), kLimitSeconds);
  ChangeAToken(TrainData());
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              AllOf(HasSubstr("was trained on a different data set"),
                    HasSubstr("digest ")));
  RunWell(Lextra(Train(run, {"--stop_at_step=3"})));
}

// What a program saved that knew no digest.
TEST_F(RecoveryTest, CheckpointsWithoutADigestAreComparedByTheFingerprint) {
  const std::string run = Path("old-checkpoint");
  RunWell(Lextra(Train(run, {"--stop_at_step=2"})));
  const std::string path = Step(run, 2) + "/MANIFEST.json";
  absl::StatusOr<Manifest> manifest = ParseManifest(ReadText(path));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_FALSE(manifest->state().data().digest().empty());
  manifest->mutable_state()->mutable_data()->clear_digest();
  WriteText(path, ManifestText(*manifest));
  Arguments other = Train(run);
  std::replace(other.begin(), other.end(), "data.train=" + TrainData(),
               "data.train=" + ValidationData());
  const ProcessResult result = RunProcess(Lextra(other), kLimitSeconds);
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(LineWith("lextra: error:", result.output),
              AllOf(HasSubstr("was trained on a different data set"),
                    HasSubstr("fingerprint ")));
  RunWell(Lextra(Train(run, {"--stop_at_step=3"})));
}

}  // namespace
}  // namespace lextra::testing
