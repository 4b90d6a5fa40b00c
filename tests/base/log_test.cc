#include "base/log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::internal::CaptureStderr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStderr;
using ::testing::internal::GetCapturedStdout;

// Each test leaves the process as it found it: rank 0 of 1, no log file.
class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override {
    SetLogIdentity(0, 1, "");
    SetLogFile("");
  }
};

TEST_F(LogTest, Rank0SpeaksForTheJob) {
  SetLogIdentity(0, 2, "host");
  CaptureStderr();
  LogInfo("step %d", 3);
  LogWarning("%s", "odd");
  LogHint("try %d", 4);
  EXPECT_EQ(GetCapturedStderr(), "step 3\nwarning: odd\n--- HINT: try 4\n");
}

TEST_F(LogTest, OtherRanksSpeakOnlyOfErrors) {
  SetLogIdentity(1, 2, "node7");
  CaptureStderr();
  CaptureStdout();
  LogInfo("step %d", 3);
  PrintResult("result\n");
  LogError("lost");
  EXPECT_EQ(GetCapturedStderr(), "[rank 1 host node7] error: lost\n");
  EXPECT_EQ(GetCapturedStdout(), "");
}

TEST_F(LogTest, ALoneProcessNeedsNoRank) {
  CaptureStderr();
  LogError("lost");
  EXPECT_EQ(GetCapturedStderr(), "error: lost\n");
}

TEST_F(LogTest, ResultsGoToStdoutAsTheyAre) {
  CaptureStdout();
  PrintResult("50%s");
  EXPECT_EQ(GetCapturedStdout(), "50%s");
}

TEST_F(LogTest, TheLogFileHoldsTheSameLines) {
  const testing::TemporaryFolder folder;
  CaptureStderr();
  LogLine("before");
  SetLogFile(folder / "log.txt");
  LogLine("first");
  LogError("second");
  GetCapturedStderr();
  std::ifstream file(folder / "log.txt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
            "first\nerror: second\n");
}

TEST_F(LogTest, TheLogFileHoldsTheErrorsOfEveryRank) {
  const testing::TemporaryFolder folder;
  SetLogFile(folder / "log.txt");
  CaptureStderr();
  LogLine("of rank 0");
  SetLogIdentity(1, 2, "node7");
  LogLine("no one speaks");
  LogError("rank 0 is stopped");
  GetCapturedStderr();
  std::ifstream file(folder / "log.txt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
            "of rank 0\n[rank 1 host node7] error: rank 0 is stopped\n");
}

TEST_F(LogTest, ALogFileThatCantBeWrittenCostsItsLinesOnly) {
  const testing::TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  // A full disk, a folder that is gone, a folder, a pipe without a reader.
  for (const std::string& path :
       {std::string("/dev/full"), folder / "none/log.txt", folder.path(),
        folder / "fifo"}) {
    SetLogFile(path);
    CaptureStderr();
    LogLine("first");
    LogLine("second");
    EXPECT_EQ(GetCapturedStderr(), "first\nsecond\n") << path;
  }
}

TEST_F(LogTest, AFullDiskTakesAllOfALineOrNothing) {
  const testing::TemporaryFolder folder;
  SetLogFile(folder / "log.txt");
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit = {12, before.rlim_max};
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  CaptureStderr();
  setrlimit(RLIMIT_FSIZE, &limit);
  LogLine("first");
  LogLine("longer than the rest");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  LogLine("last");
  GetCapturedStderr();
  std::ifstream file(folder / "log.txt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
            "first\nlast\n");
}

TEST_F(LogTest, TheRankIsTheOneThatWasSet) {
  EXPECT_EQ(LogRank(), 0);
  SetLogIdentity(3, 4, "host");
  EXPECT_EQ(LogRank(), 3);
}

TEST_F(LogTest, NoProgressBarWhereStderrIsNoTerminal) {
  CaptureStderr();
  EXPECT_FALSE(ProgressIsWelcome());
  GetCapturedStderr();
}

}  // namespace
}  // namespace lextra
