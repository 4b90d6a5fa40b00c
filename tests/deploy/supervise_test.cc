// deploy/supervise.sh against commands that end as a list says, and against a
// real training whose ranks are killed.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/temporary_folder.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// The n-th start does what the n-th argument says (the last one forever after):
// makes the folders it names in RUN, then ends with its last word as code.
constexpr char kListedEnds[] = R"(#!/usr/bin/env bash
run=$1; shift
echo >>"$run/starts"
n=$(wc -l <"$run/starts")
((n <= $#)) || n=$#
for word in ${!n}; do
  case $word in
    *-*) mkdir -p "$run/$word" ;;
    KILL) kill -KILL $$ ;;
    *) exit "$word" ;;
  esac
done
)";

// The n-th start adds the n-th argument to the log and ends as the watchdog
// ends a job; the start after the last one ends well. A first word step-* is a
// checkpoint.
constexpr char kWatchedEnds[] = R"(#!/usr/bin/env bash
run=$1; shift
echo >>"$run/starts"
n=$(wc -l <"$run/starts")
((n <= $#)) || exit 0
line=${!n}
if [[ $line == step-* ]]; then mkdir "$run/${line%% *}"; line=${line#* }; fi
echo "a line of the run" >>"$run/log.txt"
[[ -z $line ]] || echo "[rank 0 host a] error: watchdog: $line" >>"$run/log.txt"
echo "lextra: ended" >>"$run/log.txt"
exit 6
)";

// Runs until USR1 (ends with 75 if $2 is "saves") and notes USR1 and TERM.
constexpr char kLongRun[] = R"(#!/usr/bin/env bash
run=$1
trap 'echo USR1 >>"$run/signals"; if [[ $2 == saves ]]; then exit 75; fi' USR1
trap 'echo TERM >>"$run/signals"; if [[ $2 == dies ]]; then exit 6; fi' TERM
trap 'echo INT >>"$run/signals"' INT
echo >>"$run/starts"
while :; do sleep 0.1; done
)";

// At its first start stays when its child is gone, as mpirun was seen to; its
// second start has a child for longer than it may be stuck, and ends well.
constexpr char kStuckLauncher[] = R"(#!/usr/bin/env bash
run=$1
echo >>"$run/starts"
if (($(wc -l <"$run/starts") == 1)); then
  sleep 1.5
  while :; do :; done
fi
sleep 4
)";

Arguments Supervise(const Arguments& arguments) {
  const char* source = std::getenv("LEXTRA_SOURCE_DIR");
  return Arguments{std::string(source != nullptr ? source : ".") +
                   "/deploy/supervise.sh"} +
         arguments;
}

bool Until(const std::function<bool()>& holds) {
  for (int i = 0; i < 100 * kLimitSeconds; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class SupervisorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteText(listed_ends_, kListedEnds);
    WriteText(watched_ends_, kWatchedEnds);
    WriteText(long_run_, kLongRun);
    WriteText(stuck_launcher_, kStuckLauncher);
    for (const std::string& script :
         {listed_ends_, watched_ends_, long_run_, stuck_launcher_}) {
      fs::permissions(script, fs::perms::owner_all);
    }
    fs::create_directory(run_);
  }

  // Supervises a command whose starts do what `ends` says.
  ProcessResult EndsOf(const Arguments& ends, const Arguments& options = {}) {
    fs::remove(run_ + "/starts");
    return RunProcess(Supervise(Arguments{"--run_dir=" + run_} + options +
                                Arguments{"--", listed_ends_, run_} + ends),
                      kLimitSeconds);
  }
  ProcessResult WatchedEnds(const Arguments& lines) {
    fs::remove(run_ + "/starts");
    return RunProcess(
        Supervise(Arguments{"--run_dir=" + run_, "--", watched_ends_, run_} +
                  lines),
        kLimitSeconds);
  }
  Arguments LongRun(const std::string& manner) const {
    // A launcher listens to Ctrl-C, whatever its parent made of the signal.
    return Supervise({"--run_dir=" + run_, "--grace_seconds=1", "--", "env",
                      "--default-signal=INT", long_run_, run_, manner});
  }
  bool HasStarted() const { return fs::exists(run_ + "/starts"); }
  int Starts() const {
    return HasStarted() ? static_cast<int>(ReadText(run_ + "/starts").size())
                        : 0;
  }

  TemporaryFolder folder_;
  const std::string run_ = folder_ / "run";
  const std::string listed_ends_ = folder_ / "listed_ends";
  const std::string watched_ends_ = folder_ / "watched_ends";
  const std::string long_run_ = folder_ / "long_run";
  const std::string stuck_launcher_ = folder_ / "stuck_launcher";
};

TEST_F(SupervisorTest, ACodeThatARestartCannotCureIsTheLast) {
  const std::map<int, std::string> meanings = {
      {0, "finished"},    {2, "configuration"},
      {3, "input file"},  {4, "usable checkpoint"},
      {5, "another job"}, {7, "numeric failure"},
      {8, "storage"},     {9, "not an exit code of lextra"}};
  for (const auto& [code, meaning] : meanings) {
    const ProcessResult result = EndsOf({std::to_string(code)});
    EXPECT_EQ(result.exit_code, code);
    EXPECT_EQ(Starts(), 1) << result.output;
    EXPECT_THAT(result.output, AllOf(HasSubstr(meaning), HasSubstr("Z superv"),
                                     Not(HasSubstr("restart"))));
  }
}

TEST_F(SupervisorTest, ALostRankIsStartedAgain) {
  for (const std::string code : {"1", "6", "75", "137", "205", "KILL"}) {
    const ProcessResult result = EndsOf({code, "0"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(Starts(), 2) << code << result.output;
    EXPECT_THAT(result.output, HasSubstr("restart 1 of 3"));
  }
}

TEST_F(SupervisorTest, GivesUpAfterThreeRestartsWithoutANewerStep) {
  fs::create_directory(run_ + "/step-00000020");
  const ProcessResult result = EndsOf({"6", "137", "6", "step-00000009 205"});
  EXPECT_EQ(result.exit_code, 205);
  EXPECT_EQ(Starts(), 4);
  EXPECT_THAT(result.output,
              HasSubstr("giving up: 3 consecutive restarts brought no "
                        "checkpoint after step 20"));
  EXPECT_GE(result.seconds, 1 + 2 + 4) << "the pauses";
  // As many restarts as asked for.
  EXPECT_EQ(EndsOf({"6"}, {"--max_restarts_without_progress=1"}).exit_code, 6);
  EXPECT_EQ(Starts(), 2);
  EXPECT_EQ(EndsOf({"6"}, {"--max_restarts_without_progress=0"}).exit_code, 6);
  EXPECT_EQ(Starts(), 1);
}

TEST_F(SupervisorTest, ANewerStepResetsTheCount) {
  const ProcessResult result =
      EndsOf({"step-8 6", "6", "step-00000009 6", "6", "step-10 137", "0"},
             {"--max_restarts_without_progress=2"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(Starts(), 6);
  EXPECT_THAT(result.output, HasSubstr("newest checkpoint is step 10"));
}

// What the watchdog says of a rank that hangs.
std::string Hang(const std::string& seconds, const std::string& point) {
  return "rank 2 (host b) [" + point +
         ", last finished AllReduce 14 on axis world (400 bytes)] made no "
         "progress for " +
         seconds + " s outside any collective; no rank is waiting for it yet";
}

TEST_F(SupervisorTest, TwoEndsByTheWatchdogAtOnePointAreEnough) {
  const std::string there = Hang("60.4", "training, step 15");
  const ProcessResult result =
      WatchedEnds({there, Hang("61.0", "training, step 15")});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(Starts(), 2);
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("giving up: the watchdog ended two consecutive "
                              "runs at the same point (training, step 15)"),
                    HasSubstr(run_ + "/log.txt"),
                    HasSubstr("parallel.timeout_seconds")));
  // A call that no rank is missing from, a stopped rank, a rank that never got
  // to its first call: all say where.
  for (const std::string& line :
       {std::string(
            "AllReduce 5 on axis data (8 bytes) has not completed after "
            "61.0 s although every rank entered it: rank 0 (host a) "
            "[save, step 4, in AllReduce 5 on axis data (8 bytes)]"),
        std::string("no heartbeat from rank 1 (host b) [load] for 10.2 s: the "
                    "process is stopped, or its host or network link is "
                    "down")}) {
    EXPECT_EQ(WatchedEnds({line, line}).exit_code, 6);
    EXPECT_EQ(Starts(), 2) << line;
  }
}

TEST_F(SupervisorTest, EndsByTheWatchdogAtDifferentPointsAreStartedAgain) {
  const std::string there = Hang("60.4", "training, step 15");
  const std::string error =
      "NCCL: AllReduce 15 on axis data (400 bytes): remote process exited";
  for (const Arguments& lines :
       {Arguments{there, Hang("60.4", "training, step 150"), there},
        Arguments{there, "", there}, Arguments{error, error},
        Arguments{there, "step-20 " + there}}) {
    const ProcessResult result = WatchedEnds(lines);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(Starts(), static_cast<int>(lines.size()) + 1);
  }
}

TEST_F(SupervisorTest, OnlyACommittedStepIsProgress) {
  // Bash would run what stands in brackets, were this taken for a number.
  fs::create_directory(run_ + "/step-5+n[$(kill -KILL $$)]");
  const ProcessResult result =
      EndsOf({"6", ".tmp-30-ab 6", ".bad-step-40-crc .trash-step-50 6",
              "step-x step-60.old step- 6", "0"});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(Starts(), 4) << result.output;
  EXPECT_THAT(result.output, HasSubstr("no checkpoint after step 0"));
}

TEST_F(SupervisorTest, ARequestToStopReachesTheCommandAsUsr1) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    SCOPED_TRACE(signal);
    fs::remove(run_ + "/signals");
    fs::remove(run_ + "/starts");
    Process supervisor(LongRun("saves"));
    ASSERT_TRUE(Until([&] { return HasStarted(); }));
    // Ctrl-C reaches the whole group.
    ASSERT_EQ(
        kill(signal == SIGINT ? -supervisor.pid() : supervisor.pid(), signal),
        0);
    const ProcessResult result = supervisor.Wait(kLimitSeconds);
    EXPECT_EQ(result.exit_code, 75) << result.output;
    EXPECT_EQ(ReadText(run_ + "/signals"), "USR1\n");
    EXPECT_EQ(Starts(), 1);
  }
}

TEST_F(SupervisorTest, AfterTheGraceComesTermAndTheCodeIsTheCommands) {
  Process supervisor(LongRun("dies"));
  ASSERT_TRUE(Until([&] { return HasStarted(); }));
  ASSERT_EQ(kill(supervisor.pid(), SIGTERM), 0);
  const ProcessResult result = supervisor.Wait(kLimitSeconds);
  EXPECT_EQ(result.exit_code, 6) << "asked to stop: no restart";
  EXPECT_EQ(ReadText(run_ + "/signals"), "USR1\nTERM\n");
  EXPECT_GT(result.seconds, 1) << "the grace";
  EXPECT_EQ(Starts(), 1);
}

TEST_F(SupervisorTest, TwentySecondsAfterTermComesKill) {
  Process supervisor(LongRun("ignores"));
  ASSERT_TRUE(Until([&] { return HasStarted(); }));
  // Another process of the same name is none of the supervisor's business.
  Process bystander({long_run_, folder_.path(), "ignores"});
  ASSERT_EQ(kill(supervisor.pid(), SIGUSR1), 0);
  const ProcessResult result = supervisor.Wait(kLimitSeconds);
  EXPECT_EQ(result.exit_code, 137) << result.output;
  EXPECT_EQ(ReadText(run_ + "/signals"), "USR1\nTERM\n");
  EXPECT_GT(result.seconds, 21);
  EXPECT_LT(result.seconds, 30);
  EXPECT_FALSE(bystander.HasEnded());
}

TEST_F(SupervisorTest, ARequestToStopBetweenTwoRunsStartsNoMore) {
  Process supervisor(
      Supervise({"--run_dir=" + run_, "--", listed_ends_, run_, "6"}));
  ASSERT_TRUE(Until([&] {
    return supervisor.Output().find("restart 2 of 3") != std::string::npos;
  }));
  ASSERT_EQ(kill(supervisor.pid(), SIGUSR1), 0);
  EXPECT_EQ(supervisor.Wait(kLimitSeconds).exit_code, 75);
  EXPECT_EQ(Starts(), 2);
}

TEST_F(SupervisorTest, KillsALauncherThatStaysWithoutRanks) {
  const ProcessResult result =
      RunProcess(Supervise({"--run_dir=" + run_, "--stuck_seconds=2", "--",
                            stuck_launcher_, run_}),
                 kLimitSeconds);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(Starts(), 2);
  EXPECT_THAT(result.output, HasSubstr("has had no child for 2 s"));
}

TEST_F(SupervisorTest, OutlivesThreadsThatEndWhileItLooks) {
  // A thread that ends between the list and its file: every second supervisor
  // meets one.
  std::vector<std::unique_ptr<Process>> supervisors;
  for (int i = 0; i < 4; ++i) {
    supervisors.push_back(std::make_unique<Process>(
        Supervise({"--run_dir=" + run_, "--", ENDING_THREADS})));
  }
  for (auto& supervisor : supervisors) {
    const ProcessResult result = supervisor->Wait(kLimitSeconds);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, HasSubstr("end: code 0"));
  }
}

TEST_F(SupervisorTest, RefusesAWrongCommandLine) {
  for (const Arguments& wrong :
       {Arguments{}, Arguments{"--", "true"}, Arguments{"--run_dir=" + run_},
        Arguments{"--run_dir=", "--", "true"},
        Arguments{"--run_dir=" + run_, "--"},
        Arguments{"--run_dir=" + run_, "--", run_ + "/no-such-command"},
        Arguments{"--run_dir=" + run_, "--grace_seconds=-1", "--", "true"},
        Arguments{"--run_dir=" + run_, "--max_restarts_without_progress=many",
                  "--", "true"},
        Arguments{"--run_dir=" + run_, "--run-dir=x", "--", "true"}}) {
    const ProcessResult result = RunProcess(Supervise(wrong), kLimitSeconds);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(wrong);
    EXPECT_THAT(result.output, HasSubstr("usage: "));
  }
}

// The ranks of the training under `supervisor`; empty between two runs.
std::vector<pid_t> RanksUnder(const Process& supervisor, size_t num_ranks) {
  for (const pid_t child : ChildrenOf(supervisor.pid())) {
    std::vector<pid_t> ranks = ChildrenOf(child);
    if (ranks.size() == num_ranks) return ranks;
  }
  return {};
}

class SuperviseTraining : public EndToEndTest {};

TEST_F(SuperviseTraining, TwoKilledRanksLaterTheRunIsTheUninterruptedOne) {
  const Arguments more = {"schedule.num_steps=60",
                          "evaluation.validation_interval_steps=0",
                          "checkpoint.interval_steps=5"};
  RunWell(LextraOn(2, Train(Path("whole"), more)));
  const std::string run = Path("supervised");
  Process supervisor(Supervise(Arguments{"--run_dir=" + run, "--"} +
                               LextraOn(2, Train(run, more))));
  size_t rank = 0;
  for (const char* step : {"/step-00000010", "/step-00000030"}) {
    ASSERT_TRUE(Until([&] {
      return supervisor.HasEnded() ||
             (fs::exists(run + step) && !RanksUnder(supervisor, 2).empty());
    }));
    ASSERT_FALSE(supervisor.HasEnded()) << supervisor.Output();
    ASSERT_EQ(kill(RanksUnder(supervisor, 2).at(rank++), SIGKILL), 0);
  }
  const ProcessResult result = supervisor.Wait(kLimitSeconds);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("end: code 137"), HasSubstr("end: code 0 ")));
  EXPECT_EQ(LossesOf(run).size(), 60u);
  EXPECT_EQ(LossesOf(run), LossesOf(Path("whole")));
}

}  // namespace
}  // namespace lextra::testing
