#include "data/output_claim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/data/token_files.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using testing::TemporaryFolder;
using testing::WriteText;

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

// A process takes the prefix, writes a file of it and is killed.
void LeaveAClaimBehind(const std::string& prefix) {
  const pid_t child = fork();
  if (child == 0) {
    const auto claim = OutputClaim::Acquire(prefix);
    if (!claim.ok()) _exit(1);
    WriteText((*claim)->TemporaryName(".bin"), "half of the tokens");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST(OutputClaim, NamesAreHiddenAndNeverTheSame) {
  const TemporaryFolder folder;
  const std::string first =
      (*OutputClaim::Acquire(folder / "p"))->TemporaryName(".bin");
  const std::string second =
      (*OutputClaim::Acquire(folder / "p"))->TemporaryName(".bin");
  EXPECT_NE(first, second);
  EXPECT_TRUE(first.starts_with(folder / ".p.")) << first;
  EXPECT_THAT(Names(folder.path()), ElementsAre());
}

TEST(OutputClaim, IsOfOneAtATime) {
  const TemporaryFolder folder;
  {
    const auto claim = OutputClaim::Acquire(folder / "p");
    ASSERT_TRUE(claim.ok()) << claim.status();
    WriteText((*claim)->TemporaryName(".bin"), "mine");
    const absl::Status refused = OutputClaim::Acquire(folder / "p").status();
    EXPECT_EQ(ExitCodeOf(refused), ExitCode::kRunFolderHeld) << refused;
    EXPECT_THAT(
        std::string(refused.message()),
        AllOf(HasSubstr((folder / "p") + ": claimed by lextra: process " +
                        std::to_string(getpid())),
              HasSubstr("--output")));
    // Another prefix, although one begins with the other.
    EXPECT_TRUE(OutputClaim::Acquire(folder / "p.q").ok());
    EXPECT_TRUE(OutputClaim::Acquire(folder / "").ok());
    EXPECT_TRUE(std::filesystem::exists((*claim)->TemporaryName(".bin")));
  }
  EXPECT_TRUE(OutputClaim::Acquire(folder / "p").ok());
  EXPECT_THAT(Names(folder.path()), ElementsAre());
}

TEST(OutputClaim, RemovesWhatAKilledWriterLeftAndNothingElse) {
  const TemporaryFolder folder;
  LeaveAClaimBehind(folder / "p");
  ASSERT_EQ(Names(folder.path()).size(), 2u);
  const std::vector<std::string> others = {
      ".p.0123456789abcdef.bin",    // without a claim
      ".p.0123456789abcde.claim",   // too short
      ".p.0123456789abcdeg.claim",  // no such digit
      ".p.fedcba9876543210.claim",
      ".p.fedcba9876543210.bin",
      "p.bin",
      "p.bin.tmp-123",
      ".p.bin.tmp-123"};
  for (const std::string& name : others) {
    WriteText(folder / name, "a file of somebody's");
  }
  // Of another prefix.
  ASSERT_TRUE(OutputClaim::Acquire(folder / "q").ok());
  EXPECT_EQ(Names(folder.path()).size(), 2 + others.size());
  ASSERT_TRUE(OutputClaim::Acquire(folder / "p").ok());
  EXPECT_THAT(Names(folder.path()),
              ::testing::UnorderedElementsAreArray(others));
}

}  // namespace
}  // namespace lextra
