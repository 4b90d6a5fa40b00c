// Requests to stop: a committed checkpoint, the documented exit code, and a run
// that resumes from there as if it had never stopped.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <thread>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kSteps = 400;

int64_t StepsDone(const std::string& run_folder) {
  if (!fs::exists(run_folder + "/metrics.jsonl")) return 0;
  const std::string text = ReadText(run_folder + "/metrics.jsonl");
  return std::count(text.begin(), text.end(), '\n');
}

class StopTest : public EndToEndTest {
 protected:
  static Arguments TrainTwoRanks(const std::string& run_folder) {
    return LextraOn(
        2, Train(run_folder, {"parallel.data=2",
                              "schedule.num_steps=" + std::to_string(kSteps),
                              "evaluation.validation_interval_steps=0"}));
  }

  // Starts the run and sends mpirun the signal once some steps are done.
  static ProcessResult StartAndSignal(const std::string& run, int signal,
                                      int64_t after_step) {
    Process process(TrainTwoRanks(run));
    while (StepsDone(run) < after_step && !process.HasEnded()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    kill(process.pid(), signal);
    return process.Wait(kLimitSeconds);
  }
};

TEST_F(StopTest, Usr1SavesAndEndsWithItsOwnCode) {
  const std::string whole = Path("whole");
  RunWell(TrainTwoRanks(whole));
  std::mt19937_64 random{std::random_device()()};
  const int num_stops = CountFrom("LEXTRA_STOPS", 4);
  const std::string run = Path("stopped");
  for (int i = 0; i < num_stops; ++i) {
    fs::remove_all(run);
    const ProcessResult stopped = StartAndSignal(
        run, SIGUSR1, 1 + static_cast<int64_t>(random() % (kSteps / 4)));
    EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
    const std::string line = LineWith("stopped on request", stopped.output);
    EXPECT_THAT(line, HasSubstr("lextra: stopped on request after step"));
    // No step was lost: the checkpoint is of the last step in the metrics.
    const int64_t last_step = LossesOf(run).rbegin()->first;
    EXPECT_THAT(line, HasSubstr(" " + std::to_string(last_step) + ";"));
    const ProcessResult list = RunWell(Lextra({"checkpoint", "verify", run}));
    EXPECT_THAT(list.output, HasSubstr("intact"));
    if (HasFailure()) return;
  }
  RunWell(TrainTwoRanks(run));
  EXPECT_EQ(LossesOf(run), LossesOf(whole));
  EXPECT_EQ(ChecksumsOf(run + "/step-00000400"),
            ChecksumsOf(whole + "/step-00000400"));
  std::printf("SIGUSR1 to mpirun: saved and 75 in %d of %d\n", num_stops,
              num_stops);
}

// mpirun gives its ranks about a second after SIGTERM: enough for a small
// model.
TEST_F(StopTest, TermToTheRanksSavesToo) {
  const std::string run = Path("terminated");
  Process process(TrainTwoRanks(run));
  while (StepsDone(run) < 3 && !process.HasEnded()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // One rank is enough: all agree.
  kill(ChildrenOf(process.pid()).at(1), SIGTERM);
  const ProcessResult stopped = process.Wait(kLimitSeconds);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  RunWell(Lextra({"checkpoint", "verify", run}));
}

// The model takes a while to make, and the log begins before that.
TEST_F(StopTest, BeforeTheFirstStepNothingIsSavedAndNothingElseIsSaid) {
  const std::string run = Path("never-started");
  const Arguments command = Lextra(
      Train(run, {"model.hidden_size=512", "model.num_layers=8",
                  "--stop_at_step=1", "evaluation.validation_samples=1"}));
  Process process(command);
  while (!fs::exists(run + "/log.txt") && !process.HasEnded()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(process.pid(), SIGUSR1);
  const ProcessResult stopped = process.Wait(kLimitSeconds);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  EXPECT_THAT(
      LineWith("stopped on request", stopped.output),
      HasSubstr("before step 1: nothing was saved. Run the same command "
                "to start from the beginning"));
  EXPECT_FALSE(fs::exists(run + "/latest"));
  RunWell(command);
  EXPECT_EQ(ReadText(run + "/latest"), "1\n");
}

// Text for seconds: one packed paragraph again and again.
void WriteLongText(const std::string& path) {
  std::string text;
  while (text.size() < 1'000'000) text += "Rain fell on the hills.\n";
  WriteText(path, text + "\n");
  RunWell({"gzip", path});
  const std::string packed = ReadText(path + ".gz");
  std::string all;
  for (int i = 0; i < 2000; ++i) all += packed;
  WriteText(path + ".gz", all);
}

class PrepareStopTest : public EndToEndTest {
 protected:
  static std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(Path("prepared"))) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  static Arguments Prepare(const std::string& input) {
    return Lextra({"prepare", "--output=" + Path("prepared/text"),
                   "--split_blank_lines", input});
  }

  static void WaitForTokens(Process& process) {
    const auto has_tokens = [](const std::string& name) {
      return name.ends_with(".bin") &&
             fs::file_size(Path("prepared/" + name)) > 0;
    };
    while (!process.HasEnded()) {
      const std::vector<std::string> names = Names();
      if (std::any_of(names.begin(), names.end(), has_tokens)) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
};

TEST_F(PrepareStopTest, LeavesNoTemporaryFiles) {
  fs::create_directory(Path("prepared"));
  WriteLongText(Path("long.txt"));
  WriteText(Path("short.txt"), "One.\n\nTwo.\n");
  for (const int signal : {SIGTERM, SIGINT}) {
    Process process(Prepare(Path("long.txt.gz")));
    WaitForTokens(process);
    if (signal == SIGTERM) {
      const ProcessResult second =
          RunProcess(Prepare(Path("short.txt")), kLimitSeconds);
      EXPECT_EQ(second.exit_code, 5) << second.output;
      EXPECT_THAT(second.output, HasSubstr("claimed by lextra: process "));
    }
    kill(process.pid(), signal);
    const ProcessResult stopped = process.Wait(kLimitSeconds);
    EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
    EXPECT_THAT(stopped.output, HasSubstr("lextra: stopped on request"));
    EXPECT_THAT(Names(), ::testing::IsEmpty());
  }
  Process killed(Prepare(Path("long.txt.gz")));
  WaitForTokens(killed);
  kill(killed.pid(), SIGKILL);
  killed.Wait(kLimitSeconds);
  EXPECT_THAT(Names(), ::testing::Not(::testing::IsEmpty()));
  RunWell(Prepare(Path("short.txt")));
  EXPECT_THAT(Names(), ::testing::UnorderedElementsAre(
                           "text-train.bin", "text-train.digest.json",
                           "text-train.idx", "text-train.meta.json",
                           "text-validation.bin", "text-validation.digest.json",
                           "text-validation.idx", "text-validation.meta.json"));
}

}  // namespace
}  // namespace lextra::testing
