#include "tests/testing/process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

namespace lextra::testing {
namespace {

std::vector<pid_t> WaitForChildren(pid_t parent, size_t count) {
  for (int i = 0; i < 1000 && ChildrenOf(parent).size() < count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return ChildrenOf(parent);
}

TEST(Process, HandsBackOutputAndExitCode) {
  const ProcessResult result =
      RunProcess({"sh", "-c", "echo one; echo two >&2; exit 3"}, 10);
  EXPECT_EQ(result.output, "one\ntwo\n");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(result.timed_out);
}

TEST(Process, ReportsASignalAsShellsDo) {
  EXPECT_EQ(RunProcess({"sh", "-c", "kill -9 $$"}, 10).exit_code,
            128 + SIGKILL);
  EXPECT_EQ(RunProcess({"/no/such/program"}, 10).exit_code, 127);
}

TEST(Process, PastItsLimitIsKilledWithItsDescendants) {
  // The inner shell leads a process group of its own, as mpirun's ranks do.
  Process process({"sh", "-c", "setsid sh -c 'sleep 60; true'; true"});
  const std::vector<pid_t> children = WaitForChildren(process.pid(), 1);
  ASSERT_EQ(children.size(), 1u);
  const std::vector<pid_t> grandchildren = WaitForChildren(children[0], 1);
  ASSERT_EQ(grandchildren.size(), 1u);
  EXPECT_TRUE(IsAlive(grandchildren[0]));
  const ProcessResult result = process.Wait(0.1);
  EXPECT_TRUE(result.timed_out);
  EXPECT_LT(result.seconds, 20);
  EXPECT_TRUE(WaitUntilGone({children[0], grandchildren[0]}, 20));
}

}  // namespace
}  // namespace lextra::testing
