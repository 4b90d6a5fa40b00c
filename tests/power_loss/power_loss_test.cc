// A power loss takes no checkpoint that was reported as saved; and this test
// would see it if it did.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "tests/testing/process.h"

namespace lextra::testing {
namespace {

constexpr int kSkipped = 77;
constexpr double kLimitSeconds = 300;

// One run of run.sh, whose exit status holds the verdict of the mode.
void CutThePower(const std::string& mode, int cuts) {
  const std::string source = std::getenv("LEXTRA_SOURCE_DIR");
  const std::string build = std::getenv("LEXTRA_BUILD_DIR");
  const ProcessResult result =
      RunProcess({source + "/tests/power_loss/run.sh", "--mode=" + mode,
                  "--cuts=" + std::to_string(cuts), "--build=" + build},
                 kLimitSeconds);
  if (result.exit_code == kSkipped) GTEST_SKIP() << result.output;
  EXPECT_EQ(result.exit_code, 0) << result.output;
  if (result.exit_code == 0) std::cout << result.output;
}

TEST(PowerLoss, TakesNoAcknowledgedCheckpoint) { CutThePower("full", 100); }

TEST(PowerLoss, IsSeenWhereNothingIsFsynced) { CutThePower("no_sync", 15); }

TEST(PowerLoss, IsSeenWhereFoldersAreNotFsynced) {
  CutThePower("no_folder_sync", 20);
}

TEST(PowerLoss, IsSeenWhereFilesAreNotFsynced) {
  CutThePower("no_file_sync", 10);
}

}  // namespace
}  // namespace lextra::testing
