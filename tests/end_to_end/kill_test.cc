// A rank that dies takes all ranks down, and the run goes on from its last
// checkpoint as if nothing had happened.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <random>
#include <thread>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::duration;
using std::chrono::steady_clock;

constexpr int kRanks = 4;
constexpr int kSteps = 40;
constexpr double kSecondsToDie = 5;

// Lines of metrics.jsonl so far.
int64_t StepsDone(const std::string& run_folder) {
  if (!fs::exists(run_folder + "/metrics.jsonl")) return 0;
  const std::string text = ReadText(run_folder + "/metrics.jsonl");
  return std::count(text.begin(), text.end(), '\n');
}

// A save is being written at this moment.
bool SaveIsInProgress(const std::string& run_folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_folder, error)) {
    if (entry.path().filename().string().starts_with(".tmp-")) return true;
  }
  return false;
}

class KillTest : public EndToEndTest {
 protected:
  static Arguments TrainFourRanks(const std::string& run_folder,
                                  int steps_between_saves) {
    return LextraOn(
        kRanks,
        Train(run_folder, {"parallel.data=2", "parallel.tensor=2",
                           "schedule.num_steps=" + std::to_string(kSteps),
                           "evaluation.every_steps=0",
                           "checkpoint.every_steps=" +
                               std::to_string(steps_between_saves)}));
  }

  static void SetUpTestSuite() {
    EndToEndTest::SetUpTestSuite();
    RunWell(TrainFourRanks(Path("uninterrupted"), 0));
  }
  static std::map<int64_t, double> UninterruptedLosses() {
    return LossesOf(Path("uninterrupted"));
  }

  // Starts a run, kills one of its ranks when `it_is_time`, and waits for the
  // end of all.
  void StartAndKill(const Arguments& command, size_t rank,
                    const std::function<bool()>& it_is_time);

  std::mt19937_64 random_{std::random_device()()};
};

void KillTest::StartAndKill(const Arguments& command, size_t rank,
                            const std::function<bool()>& it_is_time) {
  Process run(command);
  while (!it_is_time()) {
    ASSERT_FALSE(run.HasEnded()) << run.Output();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::vector<pid_t> ranks = ChildrenOf(run.pid());
  ASSERT_EQ(ranks.size(), size_t{kRanks}) << run.Output();
  const auto start = steady_clock::now();
  ASSERT_EQ(kill(ranks[rank], SIGKILL), 0);
  const ProcessResult result = run.Wait(kLimitSeconds);
  EXPECT_TRUE(WaitUntilGone(ranks, kSecondsToDie));
  EXPECT_LT(duration<double>(steady_clock::now() - start).count(),
            kSecondsToDie);
  EXPECT_NE(result.exit_code, 0);
}

TEST_F(KillTest, AKilledRankEndsAllRanksAndTheRunGoesOn) {
  const std::map<int64_t, double> expected = UninterruptedLosses();
  for (const int steps_between_saves : {7, 1, 1}) {
    const int64_t step = 2 + static_cast<int64_t>(random_() % (kSteps - 12));
    const size_t rank = random_() % kRanks;
    SCOPED_TRACE(::testing::Message()
                 << "rank " << rank << " killed after step " << step
                 << ", a save every " << steps_between_saves << " steps");
    const std::string run = Path("killed");
    fs::remove_all(run);
    const Arguments command = TrainFourRanks(run, steps_between_saves);
    StartAndKill(command, rank, [&] {
      if (StepsDone(run) < step) return false;
      // Anywhere within the next steps.
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 50000));
      return true;
    });
    if (HasFatalFailure()) return;
    const ProcessResult resumed = RunWell(command);
    EXPECT_EQ(LossesOf(run), expected) << resumed.output;
  }
}

TEST_F(KillTest, AKilledSaveNeverLooksLikeACheckpoint) {
  const std::map<int64_t, double> expected = UninterruptedLosses();
  for (size_t rank = 0; rank < 2; ++rank) {
    SCOPED_TRACE(::testing::Message() << "rank " << rank);
    const std::string run = Path("killed-save");
    fs::remove_all(run);
    const Arguments command = TrainFourRanks(run, 1);
    StartAndKill(command, rank,
                 [&] { return StepsDone(run) >= 3 && SaveIsInProgress(run); });
    if (HasFatalFailure()) return;
    const ProcessResult list = RunWell(Lextra({"checkpoint", "list", run}));
    EXPECT_THAT(list.output, ::testing::Not(::testing::HasSubstr("MANIFEST")));
    const ProcessResult resumed = RunWell(command + Arguments{"--resume=must"});
    EXPECT_EQ(LossesOf(run), expected) << resumed.output;
    EXPECT_FALSE(SaveIsInProgress(run)) << "what the dead save left is removed";
  }
}

}  // namespace
}  // namespace lextra::testing
