#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace lextra {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;
};

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// failing_rank under mpirun with three ranks.
Outcome RunFailing(const std::string& failure) {
  const std::string command =
      "timeout 60 " MPIEXEC
      " -np 3 --oversubscribe --bind-to none --mca btl self,vader "
      "--mca oob_tcp_if_include lo --mca btl_vader_single_copy_mechanism "
      "none " FAILING_RANK " " +
      failure + " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe)) {
    outcome.output.append(buffer, size);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

TEST(AbortAllRanks, EndsRanksThatWaitWithItsExitCode) {
  const Outcome outcome = RunFailing("abort");
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_THAT(outcome.output,
              ::testing::ContainsRegex("\\[rank 2 host .*\\] error: replicas "
                                       "differ"));
}

TEST(CheckMpi, EndsAllRanksAndNamesRankPlaceCallAndCause) {
  const Outcome outcome = RunFailing("truncated");
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.output,
              ::testing::ContainsRegex("\\[rank 2 host .*\\] error: "
                                       ".*mpi_communicator.cc:[0-9]+: "
                                       "MPI_Wait.*MPI_ERR_TRUNCATE"));
}

TEST(Watchdog, NamesARankWhoseProcessLivesButHangs) {
  const struct {
    const char* failure;
    const char* culprit;
    const char* waiting;
  } cases[] = {{"hang_first 2", "rank 0", "ranks 1, 2"},
               {"hang_last 2", "rank 2", "ranks 0, 1"}};
  for (const auto& c : cases) {
    const auto start = std::chrono::steady_clock::now();
    const Outcome outcome = RunFailing(c.failure);
    const std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    EXPECT_EQ(outcome.exit_code, 6) << outcome.output;
    EXPECT_LT(time.count(), 2 + 5);
    EXPECT_THAT(
        outcome.output,
        AllOf(ContainsRegex("\\[rank 0 host .*\\] error: watchdog: " +
                            std::string(c.culprit) +
                            " \\(host [^ ]+\\) \\[training, step 15, last "
                            "finished AllReduce 14 on axis world .*\\] made no "
                            "progress for 2\\.[0-9] s outside"),
              HasSubstr(std::string(c.waiting) +
                        " are waiting in AllReduce 15 on axis world (400 "
                        "bytes) for " +
                        c.culprit)));
  }
}

TEST(Watchdog, NamesTheRankThatGpusWaitForThoughTheirHostsContinue) {
  const Outcome outcome = RunFailing("gpu_hang 2");
  EXPECT_EQ(outcome.exit_code, 6) << outcome.output;
  EXPECT_THAT(
      outcome.output,
      ContainsRegex("\\[rank 0 host .*\\] error: watchdog: rank 2 .* made no "
                    "progress for 2\\.[0-9] s outside any collective; ranks 0, "
                    "1 are waiting in AllReduce 1 on axis data \\(400 bytes\\) "
                    "for rank 2\naborted on the GPU"));
}

TEST(Watchdog, EndsTheJobWhenAGroupOfGpusHasAnError) {
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = RunFailing("gpu_error 20");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(outcome.exit_code, 6) << outcome.output;
  EXPECT_THAT(outcome.output,
              ContainsRegex("\\[rank 2 host .*\\] error: watchdog: NCCL: "
                            "AllReduce 1 on axis data \\(400 bytes\\): remote "
                            "error\naborted on the GPU"));
}

TEST(Watchdog, IsSilentWhenStepsTakeTenTimesAsLongNowAndThen) {
  const Outcome outcome = RunFailing("jitter 1");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, Not(HasSubstr("watchdog")));
}

TEST(Watchdog, IsSilentWhileLongWorkGetsOnPieceByPiece) {
  const auto start = std::chrono::steady_clock::now();
  for (const char* work : {"long_work 1", "gpu_long_work 1"}) {
    const Outcome outcome = RunFailing(work);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, Not(HasSubstr("watchdog")));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(14));
}

TEST(Watchdog, LetsRanksComeToTheEndAtDifferentTimes) {
  const Outcome outcome = RunFailing("late 1");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.output, "");
}

}  // namespace
}  // namespace lextra
