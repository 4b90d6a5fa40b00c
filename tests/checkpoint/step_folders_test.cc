#include "checkpoint/step_folders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "checkpoint/step_save.h"
#include "tests/checkpoint/files_of_test.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

class StepFoldersTest : public FilesOfTest {
 protected:
  std::string PutStep(int64_t step) {
    const std::string path = Path(StepFolderName(step));
    fs::create_directory(path);
    Put(StepFolderName(step) + "/file", "bytes");
    return path;
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    const std::vector<std::string> paths = ListCheckpoints(folder()).value();
    for (const std::string& path : paths) steps.push_back(*StepOf(path));
    return steps;
  }
};

TEST_F(StepFoldersTest, NamesAndStepsAreEachOthersInverse) {
  EXPECT_EQ(StepFolderName(100), "step-00000100");
  for (const int64_t step : {int64_t{0}, int64_t{7}, int64_t{123456789012}}) {
    EXPECT_EQ(StepOf("run/" + StepFolderName(step)), step);
  }
  for (const char* other : {"step-", "step-1x", "step--1", "step-+1", "step- 1",
                            "step-99999999999999999999", ".tmp-1-a", ""}) {
    EXPECT_EQ(StepOf(other), std::nullopt) << other;
  }
  EXPECT_EQ(SaveFolder("run", 100, "ab"), "run/.tmp-100-ab");
}

TEST_F(StepFoldersTest, ALinkInAStepFoldersPlaceIsNotListed) {
  PutStep(10);
  fs::create_directory(Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), Path("step-00000020"));
  fs::create_symlink(Path("nowhere"), Path("step-00000030"));
  EXPECT_THAT(Steps(), ElementsAre(10));
  EXPECT_EQ(*FindCheckpoint(folder()), Path("step-00000010"));
}

TEST_F(StepFoldersTest, WhatIsSetAsideKeepsItsBytesAndIsNotListed) {
  const std::string bad = SetAsideDamaged(PutStep(10)).value();
  EXPECT_THAT(fs::path(bad).filename().string(),
              MatchesRegex("\\.bad-step-00000010-[0-9]+T[0-9.]+"));
  const std::string old = SetAsideOld(PutStep(10) + "/").value();
  EXPECT_THAT(fs::path(old).filename().string(),
              MatchesRegex("\\.old-step-00000010-[0-9]+T[0-9.]+"));
  EXPECT_TRUE(fs::exists(bad + "/file"));
  EXPECT_TRUE(fs::exists(old + "/file"));
  EXPECT_THAT(Steps(), IsEmpty());
  // A step that goes bad twice is kept twice.
  const std::string again = SetAsideDamaged(PutStep(10)).value();
  EXPECT_NE(again, bad);
  EXPECT_THAT(ListDamaged(folder()).value(),
              ElementsAre(fs::path(bad).filename().string(),
                          fs::path(again).filename().string()));
  EXPECT_EQ(ExitCodeOf(SetAsideDamaged(Path("step-00000010")).status()),
            ExitCode::kStorage);
}

TEST_F(StepFoldersTest, DeletingClearsWhatADeletionThatDiedLeft) {
  PutStep(10);
  fs::create_directory(Path(".trash-step-00000010"));
  Put(".trash-step-00000010/old", "old");
  EXPECT_EQ(DeleteCheckpoint(Path("step-00000010")), absl::OkStatus());
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_EQ(ExitCodeOf(DeleteCheckpoint(Path("step-00000010"))),
            ExitCode::kStorage);
}

TEST_F(StepFoldersTest, LeftoversGoAndEverythingElseStays) {
  PutStep(10);
  for (const char* name : {".tmp-20-ab", ".trash-step-00000005",
                           ".bad-step-00000007-x", ".old-step-00000008-x"}) {
    fs::create_directory(Path(name));
    Put(std::string(name) + "/file", "");
  }
  for (const char* name :
       {"latest", "latest.tmp-77", "RUN_ID.tmp-9", "LOCK", "mine.tmp-1"}) {
    Put(name, "");
  }
  EXPECT_EQ(RemoveLeftovers(folder()), absl::OkStatus());
  EXPECT_THAT(Names(),
              ElementsAre(".bad-step-00000007-x", ".old-step-00000008-x",
                          "LOCK", "latest", "mine.tmp-1", "step-00000010"));
  EXPECT_EQ(ExitCodeOf(RemoveLeftovers(Path("nowhere"))), ExitCode::kStorage);
}

class RetentionTest : public StepFoldersTest {
 protected:
  RetentionTest() {
    for (const int64_t step : {10, 20, 30, 40, 50, 60}) PutStep(step);
  }

  std::vector<int64_t> StepsAfter(const Retention& retention,
                                  const std::set<int64_t>& verified) {
    EXPECT_EQ(DeleteOldCheckpoints(folder(), retention, verified),
              absl::OkStatus());
    return Steps();
  }
};

TEST_F(RetentionTest, WhatIsOlderThanTheNewestVerifiedOnesGoes) {
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {10, 20, 30, 40, 50, 60}),
              ElementsAre(50, 60));
}

TEST_F(RetentionTest, UnverifiedOnesNeverCountAsKept) {
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {20, 40}),
              ElementsAre(20, 30, 40, 50, 60));
}

TEST_F(RetentionTest, NothingGoesWhileTooFewAreVerified) {
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {}),
              ElementsAre(10, 20, 30, 40, 50, 60));
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {60}),
              ElementsAre(10, 20, 30, 40, 50, 60));
  EXPECT_THAT(StepsAfter({.keep_last = 3}, {50, 60}),
              ElementsAre(10, 20, 30, 40, 50, 60));
}

TEST_F(RetentionTest, VerifiedOnesThatAreGoneDontCountAsKept) {
  fs::remove_all(Path("step-00000060"));
  SetAsideDamaged(Path("step-00000050")).IgnoreError();
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {30, 40, 50, 60}),
              ElementsAre(30, 40));
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {40, 50, 60}), ElementsAre(30, 40));
}

TEST_F(RetentionTest, MultiplesStayForEver) {
  EXPECT_THAT(
      StepsAfter({.keep_last = 2, .keep_every = 20}, {10, 20, 30, 40, 50, 60}),
      ElementsAre(20, 40, 50, 60));
}

TEST_F(RetentionTest, TheNewestFromBeforeAStreakOfSkippedStepsStays) {
  EXPECT_THAT(StepsAfter({.keep_last = 2, .last_good_step = 35},
                         {10, 20, 30, 40, 50, 60}),
              ElementsAre(30, 50, 60));
  // The next save of the streak finds it again, and the first one after it
  // lets it go.
  PutStep(70);
  EXPECT_THAT(
      StepsAfter({.keep_last = 2, .last_good_step = 35}, {30, 50, 60, 70}),
      ElementsAre(30, 60, 70));
  PutStep(80);
  EXPECT_THAT(
      StepsAfter({.keep_last = 2, .last_good_step = 80}, {30, 60, 70, 80}),
      ElementsAre(70, 80));
}

TEST_F(RetentionTest, BeforeAStreakOneThatWasReadBackComesFirst) {
  EXPECT_THAT(StepsAfter({.keep_last = 2, .last_good_step = 35}, {20, 50, 60}),
              ElementsAre(20, 50, 60));
  PutStep(30);
  EXPECT_THAT(StepsAfter({.keep_last = 2, .last_good_step = 35}, {50, 60}),
              ElementsAre(30, 50, 60));
}

TEST_F(RetentionTest, LinksAndStrangersStay) {
  fs::rename(Path("step-00000010"), Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), Path("step-00000010"));
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {50, 60}), ElementsAre(50, 60));
  EXPECT_TRUE(fs::exists(Path("step-00000010/file")));
}

}  // namespace
}  // namespace lextra
