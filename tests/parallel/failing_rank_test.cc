#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace lextra {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;
};

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

}  // namespace
}  // namespace lextra
