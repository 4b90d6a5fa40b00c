#include "base/failure.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace lextra {
namespace {

TEST(AbortAllRanksDeathTest, SaysWhyAndExitsWithTheCode) {
  EXPECT_EXIT(AbortAllRanks(ExitCode::kNumeric, "replicas differ"),
              ::testing::ExitedWithCode(7), "error: replicas differ");
}

TEST(AbortAllRanksDeathTest, TakesTheOtherRanksDownFirst) {
  EXPECT_EXIT(
      {
        SetLogIdentity(2, 4, "node7");
        SetAbortHandler([](int exit_code) {
          std::fprintf(stderr, "abort with %d\n", exit_code);
          std::_Exit(9);
        });
        AbortAllRanks(ExitCode::kCommunication, "lost");
      },
      ::testing::ExitedWithCode(9),
      "\\[rank 2 host node7\\] error: lost\nabort with 6");
}

TEST(AbortAllRanksDeathTest, ReleasesAfterTheMessageAndEndsThoughThatHangs) {
  EXPECT_EXIT(AbortAllRanks(ExitCode::kCommunication, "lost",
                            [] {
                              std::fprintf(stderr, "released\n");
                              while (true) pause();
                            }),
              ::testing::KilledBySignal(SIGALRM), "error: lost\nreleased");
}

TEST(AbortAllRanksDeathTest, EndsThisRankThoughTheHandlerHangs) {
  EXPECT_EXIT(
      {
        SetAbortHandler([](int) {
          while (true) pause();
        });
        AbortAllRanks(ExitCode::kCommunication, "lost");
      },
      ::testing::KilledBySignal(SIGALRM), "error: lost");
}

}  // namespace
}  // namespace lextra
