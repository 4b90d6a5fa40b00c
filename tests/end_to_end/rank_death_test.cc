// A rank that dies or stops, in every way that it can, ends the whole job
// within seconds, says who it was where somebody still can, and leaves nothing
// behind. LEXTRA_DEATHS_PER_KIND sets how often (README.md).
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kRanks = 3;
constexpr double kTimeoutSeconds = 3;

int DeathsPerKind() {
  const char* count = std::getenv("LEXTRA_DEATHS_PER_KIND");
  return count == nullptr ? 1 : std::atoi(count);
}

// Files of /dev/shm that a process has mapped: MPI's shared memory.
std::set<std::string> SharedMemoryOf(pid_t pid) {
  std::set<std::string> files;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t begin = line.find("/dev/shm/");
    if (begin != std::string::npos && !line.ends_with("(deleted)")) {
      files.insert(line.substr(begin));
    }
  }
  return files;
}

std::vector<std::string> EntriesOf(const std::string& folder) {
  std::vector<std::string> entries;
  for (const auto& entry : fs::directory_iterator(folder)) {
    entries.push_back(entry.path());
  }
  return entries;
}

// A job with a folder of its own for the temporary files of MPI.
class Job {
 public:
  Job(const std::string& folder, const Arguments& command)
      : folder_(folder), run_(MakeFolder(folder, command)) {}

  Process& run() { return run_; }

  // Waits for `it_is_time` while the ranks run. Their pids, in order; none
  // where the job ended first.
  std::vector<pid_t> RanksWhen(const std::function<bool()>& it_is_time) {
    while (!run_.HasEnded()) {
      Look();
      if (ranks_.size() == size_t{kRanks} && it_is_time()) return ranks_;
      std::this_thread::sleep_for(milliseconds(2));
    }
    return {};
  }

  // The end of a job that has failed: within `limit_seconds`, not with success,
  // with no file and no process left.
  ProcessResult ExpectEnd(double limit_seconds) {
    const auto start = steady_clock::now();
    while (!run_.HasEnded() && SecondsSince(start) < kLimitSeconds) {
      Look();
      std::this_thread::sleep_for(milliseconds(2));
    }
    const double seconds = SecondsSince(start);
    const ProcessResult result = run_.Wait(1);
    EXPECT_LT(seconds, limit_seconds) << result.output;
    EXPECT_NE(result.exit_code, 0) << result.output;
    EXPECT_EQ(ranks_.size(), size_t{kRanks}) << result.output;
    EXPECT_TRUE(WaitUntilGone(ranks_, 1));
    EXPECT_FALSE(shared_memory_.empty()) << "no rank was looked at";
    for (const std::string& file : shared_memory_) {
      EXPECT_FALSE(fs::exists(file)) << file;
    }
    EXPECT_THAT(EntriesOf(folder_), IsEmpty());
    return result;
  }

 private:
  static Arguments MakeFolder(const std::string& folder,
                              const Arguments& command) {
    fs::create_directories(folder);
    return Arguments{"env", "TMPDIR=" + folder} + command;
  }
  static double SecondsSince(steady_clock::time_point start) {
    return duration<double>(steady_clock::now() - start).count();
  }

  void Look() {
    const std::vector<pid_t> ranks = ChildrenOf(run_.pid());
    if (ranks.size() == size_t{kRanks}) ranks_ = ranks;
    for (const pid_t pid : ranks_) shared_memory_.merge(SharedMemoryOf(pid));
  }

  std::string folder_;
  std::vector<pid_t> ranks_;
  std::set<std::string> shared_memory_;
  Process run_;
};

class RankDeathTest : public EndToEndTest {
 protected:
  static void SetUpTestSuite() {
    EndToEndTest::SetUpTestSuite();
    RunWell(LextraOn(1, Train(Path("trained"))));
  }

  // Trains until something happens to it.
  static Arguments Training(const std::string& run_folder) {
    fs::remove_all(run_folder);
    return LextraOn(
        kRanks,
        Train(run_folder,
              {"data.global_batch_size=12", "schedule.num_steps=1000000",
               "evaluation.validation_interval_steps=0", kTimeout}));
  }
  // A row takes less than a second on a quiet machine; these take minutes.
  static Arguments Evaluating() {
    std::string lengths = "64";
    for (int length = 65; length < 400; ++length) {
      lengths += ", " + std::to_string(length);
    }
    return LextraOn(
        kRanks,
        {"evaluate", "--checkpoint=" + Path("trained"),
         "--results_dir=" + Path("results"), "evaluation.masks=[BCA]",
         "evaluation.lengths=[" + lengths + "]", "evaluation.segment_tokens=64",
         "parallel.context=3", kTimeout});
  }
  static bool Trains(const std::string& run_folder) {
    std::error_code error;
    return fs::file_size(run_folder + "/metrics.jsonl", error) > 200 && !error;
  }

  inline static const std::string kTimeout =
      "parallel.timeout_seconds=" + std::to_string(kTimeoutSeconds);
  std::mt19937_64 random_{std::random_device()()};
};

TEST_F(RankDeathTest, ASignalEndsTheJobAndLeavesNothing) {
  const std::string run = Path("run");
  for (int i = 0; i < DeathsPerKind(); ++i) {
    for (const int signal : {SIGKILL, SIGSEGV, SIGABRT}) {
      SCOPED_TRACE(sigabbrev_np(signal));
      Job job(Path("tmp"), Training(run));
      const std::vector<pid_t> ranks =
          job.RanksWhen([&] { return Trains(run); });
      ASSERT_FALSE(ranks.empty()) << job.run().Output();
      // Anywhere in a step.
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 50000));
      ASSERT_EQ(kill(ranks[random_() % kRanks], signal), 0);
      EXPECT_EQ(job.ExpectEnd(kSecondsToDie).exit_code, 128 + signal);
    }
  }
}

TEST_F(RankDeathTest, AnUncaughtExceptionEndsTheJob) {
  for (int i = 0; i < DeathsPerKind(); ++i) {
    for (const char* failure : {"exception", "bad_alloc"}) {
      Job job(Path("tmp"), Mpirun(kRanks, {FAILING_RANK, failure, "3"}));
      EXPECT_EQ(job.ExpectEnd(kSecondsToDie).exit_code, 128 + SIGABRT);
    }
  }
}

TEST_F(RankDeathTest, ARankOutOfMemoryEndsTheJobAndIsNamed) {
  // A matrix of 4.3 GB; the last rank may have 4 GB of addresses in all.
  const Arguments train = Lextra(Train(
      Path("large"),
      {"data.global_batch_size=12", "model.num_layers=1",
       "model.ffn_hidden_size=16777216", "model.hidden_size=64", kTimeout}));
  for (int i = 0; i < DeathsPerKind(); ++i) {
    Arguments command = Mpirun(kRanks - 1, train);
    command = command +
              Arguments{":", "-np", "1", "prlimit", "--as=4000000000"} + train;
    Job job(Path("tmp"), command);
    const ProcessResult result = job.ExpectEnd(kLimitSeconds);
    EXPECT_EQ(result.exit_code, 6);
    EXPECT_THAT(result.output, ContainsRegex("\\[rank 2 host .*\\] error: .*"
                                             "(memory|alloc)"));
  }
}

// Rank 0 tells of the others, rank 1 of rank 0.
constexpr std::pair<int, int> kStoppedAndSpeaker[] = {{0, 1}, {kRanks - 1, 0}};

// The line of the watchdog about `rank` by `speaker`.
auto Names(int rank, int speaker, const std::string& phase) {
  return ContainsRegex("\\[rank " + std::to_string(speaker) +
                       " host .*\\] error: watchdog: no heartbeat from rank " +
                       std::to_string(rank) + " \\(host [^ ]+\\) \\[" + phase +
                       ".*\\] for [0-9.]+ s: ");
}

TEST_F(RankDeathTest, AStoppedRankIsNamedInTraining) {
  const std::string run = Path("run");
  for (const auto& [rank, speaker] : kStoppedAndSpeaker) {
    Job job(Path("tmp"), Training(run));
    const std::vector<pid_t> ranks = job.RanksWhen([&] { return Trains(run); });
    ASSERT_FALSE(ranks.empty()) << job.run().Output();
    // The beat that says so is on its way.
    std::this_thread::sleep_for(milliseconds(1000));
    ASSERT_EQ(kill(ranks[rank], SIGSTOP), 0);
    const ProcessResult result = job.ExpectEnd(kTimeoutSeconds + 5);
    EXPECT_EQ(result.exit_code, 6);
    EXPECT_THAT(result.output,
                Names(rank, speaker,
                      "training, step [0-9]+, (in|last finished) "
                      "[A-Z][A-Za-z]+ [0-9]+ on axis [a-z]+ "));
  }
}

TEST_F(RankDeathTest, AJobThatWasSuspendedContinues) {
  const std::string run = Path("run");
  Job job(Path("tmp"), Training(run));
  const std::vector<pid_t> ranks = job.RanksWhen([&] { return Trains(run); });
  ASSERT_FALSE(ranks.empty()) << job.run().Output();
  for (const pid_t rank : ranks) ASSERT_EQ(kill(rank, SIGSTOP), 0);
  std::this_thread::sleep_for(duration<double>(kTimeoutSeconds + 2));
  const auto size = fs::file_size(run + "/metrics.jsonl");
  for (const pid_t rank : ranks) ASSERT_EQ(kill(rank, SIGCONT), 0);
  std::this_thread::sleep_for(duration<double>(kTimeoutSeconds + 1));
  EXPECT_FALSE(job.run().HasEnded()) << job.run().Output();
  EXPECT_GT(fs::file_size(run + "/metrics.jsonl"), size);
  kill(ranks[0], SIGKILL);
  EXPECT_EQ(job.ExpectEnd(kSecondsToDie).exit_code, 128 + SIGKILL);
}

TEST_F(RankDeathTest, AStoppedRankIsNamedInEvaluation) {
  for (const auto& [rank, speaker] : kStoppedAndSpeaker) {
    Job job(Path("tmp"), Evaluating());
    const std::vector<pid_t> ranks = job.RanksWhen([&] {
      return absl::StrContains(job.run().Output(), "document(s) of");
    });
    ASSERT_FALSE(ranks.empty()) << job.run().Output();
    std::this_thread::sleep_for(milliseconds(1000));
    ASSERT_FALSE(job.run().HasEnded()) << job.run().Output();
    ASSERT_EQ(kill(ranks[rank], SIGSTOP), 0);
    const ProcessResult result = job.ExpectEnd(kTimeoutSeconds + 5);
    EXPECT_EQ(result.exit_code, 6);
    EXPECT_THAT(result.output, Names(rank, speaker, "evaluation"));
  }
}

}  // namespace
}  // namespace lextra::testing
