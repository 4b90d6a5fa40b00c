#include "checkpoint/files/checkpoint_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>

#include "checkpoint/files/run_lock.h"
#include "tests/checkpoint/files/files_of_test.h"
#include "tests/checkpoint/files/small_checkpoint.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string BytesOfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

class CheckpointCopyTest : public FilesOfTest {
 protected:
  CheckpointCopyTest()
      : tensors_(KnownTensors(Size::kSeveralMiB, 1)),
        source_(SaveKnown(Path("run"), 10, tensors_).value()) {}

  const std::vector<KnownTensor> tensors_;
  const std::string source_;
};

TEST_F(CheckpointCopyTest, IsTheSameByteForByte) {
  const auto copy = CopyCheckpoint(source_, Path("new/target"));
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, Path("new/target/step-00000010"));
  EXPECT_TRUE(IsWhole(*copy, tensors_));
  ASSERT_EQ(NamesIn(*copy).size(), size_t{1 + kNumShards});
  for (const std::string& name : NamesIn(*copy)) {
    EXPECT_TRUE(BytesOfFile(*copy + "/" + name) ==
                BytesOfFile(source_ + "/" + name))
        << name;
  }
  EXPECT_THAT(
      NamesIn(Path("new/target")),
      UnorderedElementsAre("LOCK", "RUN_ID", "latest", "step-00000010"));
  EXPECT_EQ(BytesOfFile(Path("new/target/LOCK")), "");
  EXPECT_EQ(BytesOfFile(Path("new/target/latest")), "10\n");
}

TEST_F(CheckpointCopyTest,
       OfADamagedOneIsRefusedByTheSourcesNameAndLeavesNothing) {
  const std::string shard = source_ + "/shard-00001-of-00003.safetensors";
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-5, std::ios::end);
  file.put('\x55');
  file.close();
  const absl::Status status = CopyCheckpoint(source_, Path("target")).status();
  EXPECT_TRUE(IsDamaged(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(shard), HasSubstr("tensor '")));
  EXPECT_THAT(NamesIn(Path("target")), UnorderedElementsAre("LOCK", "RUN_ID"));

  fs::remove(shard);
  EXPECT_TRUE(IsDamaged(CopyCheckpoint(source_, Path("other")).status()));
  EXPECT_FALSE(fs::exists(Path("other")));
}

TEST_F(CheckpointCopyTest, DoesNotReplaceAStep) {
  const std::string there =
      SaveKnown(Path("target"), 10, KnownTensors(Size::kTiny, 2)).value();
  const absl::Status status = CopyCheckpoint(source_, Path("target")).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_FALSE(IsDamaged(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(there));
  EXPECT_TRUE(IsWhole(there, KnownTensors(Size::kTiny, 2)));
}

TEST_F(CheckpointCopyTest, DoesNotWriteIntoARunningJobsFolder) {
  fs::create_directory(Path("target"));
  const auto lock = RunLock::Acquire(Path("target"), "").value();
  EXPECT_EQ(ExitCodeOf(CopyCheckpoint(source_, Path("target")).status()),
            ExitCode::kRunFolderHeld);
  EXPECT_THAT(NamesIn(Path("target")), UnorderedElementsAre("LOCK", "RUN_ID"));
}

TEST_F(CheckpointCopyTest, OfARunningJobsCheckpointIsMade) {
  const auto lock = RunLock::Acquire(Path("run"), "").value();
  EXPECT_TRUE(CopyCheckpoint(source_, Path("target")).ok());
}

}  // namespace
}  // namespace lextra
