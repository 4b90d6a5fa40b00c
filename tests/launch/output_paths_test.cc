#include "launch/arguments/output_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class OutputPathsTest : public ::testing::Test {
 protected:
  OutputPathsTest() : before_(fs::current_path()) {
    root_ = fs::canonical(folder_.path()).string();
    fs::create_directories(root_ + "/run/step-00000020");
    std::ofstream(root_ + "/run/step-00000020/MANIFEST.json") << "{}";
    fs::current_path(root_);
  }
  ~OutputPathsTest() override { fs::current_path(before_); }

  const testing::TemporaryFolder folder_;
  fs::path before_;
  std::string root_;
};

TEST_F(OutputPathsTest, AnAbsolutePathHasNeitherDotsNorASlashAtItsEnd) {
  EXPECT_EQ(AbsolutePath(""), "");
  EXPECT_EQ(AbsolutePath("."), root_);
  EXPECT_EQ(AbsolutePath("./data//set/"), root_ + "/data/set");
  EXPECT_EQ(AbsolutePath("/a/./b/."), "/a/b");
  EXPECT_EQ(AbsolutePath("/a/link/../b"), "/a/link/../b");
  EXPECT_EQ(AbsolutePath("a b\nc "), root_ + "/a b\nc ");
}

TEST_F(OutputPathsTest, TheRunFolderIsTheSameHoweverTheCheckpointIsNamed) {
  const std::string run = root_ + "/run";
  for (const std::string name :
       {"run/step-00000020", "run/step-00000020/", "run/step-00000020//",
        "run/step-00000020/.", "./run/../run/step-00000020/./",
        "run/step-00000020/../step-00000020/"}) {
    EXPECT_EQ(fs::weakly_canonical(RunFolderOfCheckpoint(name)), run) << name;
    EXPECT_EQ(fs::weakly_canonical(RunFolderOfCheckpoint(root_ + "/" + name)),
              run)
        << name;
  }
  fs::create_directory_symlink("run/step-00000020", "best");
  EXPECT_EQ(RunFolderOfCheckpoint("best/"), run);
  // A step of a run that lies elsewhere is a step of the run.
  fs::create_directory("other");
  fs::create_directory_symlink("../run/step-00000020", "other/step-00000020");
  EXPECT_EQ(RunFolderOfCheckpoint("other/step-00000020/"), root_ + "/other");
  fs::current_path("run/step-00000020");
  EXPECT_EQ(RunFolderOfCheckpoint("."), run);
  EXPECT_EQ(RunFolderOfCheckpoint("./"), run);
  EXPECT_EQ(RunFolderOfCheckpoint("../step-00000020"),
            run + "/step-00000020/..");
}

TEST_F(OutputPathsTest, NothingIsWrittenIntoACheckpoint) {
  fs::create_directory_symlink("run/step-00000020", "best");
  for (const std::string path :
       {"run/step-00000020", "run/step-00000020/", "run/step-00000020/eval",
        "run/step-00000020/not/there/yet", "best", "best/eval/.",
        "run/../best/eval"}) {
    const absl::Status status = CheckOutsideCheckpoints("--results_dir", path);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << path;
    EXPECT_THAT(
        std::string(status.message()),
        HasSubstr("--results_dir=" + path + ": inside the checkpoint "));
  }
  std::ofstream("MANIFEST.json") << "of something else";
  for (const std::string path : {"run", "run/eval", "run/step-00000020/..",
                                 "run/step-21", ".", "/not/there", ""}) {
    EXPECT_TRUE(CheckOutsideCheckpoints("--output", path).ok()) << path;
  }
}

TEST_F(OutputPathsTest, WhatCanBeWrittenIsFoundOutWithoutATrace) {
  EXPECT_TRUE(CheckCanBeWritten("nll").ok());
  std::ofstream("there") << "old";
  EXPECT_TRUE(CheckCanBeWritten("there").ok());
  EXPECT_EQ(fs::file_size("there"), 3u);
  for (const std::string& path :
       {std::string("run"), std::string("none/nll"), std::string("there/nll"),
        std::string("/dev/null"), std::string(255, 'n')}) {
    EXPECT_EQ(ExitCodeOf(CheckCanBeWritten(path)), ExitCode::kStorage) << path;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator("."), {}), 2);
}

}  // namespace
}  // namespace lextra
