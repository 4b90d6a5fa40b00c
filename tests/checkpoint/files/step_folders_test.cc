#include "checkpoint/files/step_folders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "checkpoint/files/manifest.h"
#include "checkpoint/files/step_save.h"
#include "tests/checkpoint/files/files_of_test.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

class StepFoldersTest : public FilesOfTest {
 protected:
  static constexpr char kShard[] = "shard-00000-of-00001.safetensors";

  std::string PutStep(int64_t step) {
    const std::string path = Path(StepFolderName(step));
    fs::create_directory(path);
    Put(StepFolderName(step) + "/" + kShard, "bytes");
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

TEST_F(StepFoldersTest, ALinkInAStepFoldersPlaceIsListedEvenIfItLeadsNowhere) {
  PutStep(10);
  fs::create_directory(Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), Path("step-00000020"));
  fs::create_symlink(Path("nowhere"), Path("step-00000030"));
  EXPECT_THAT(Steps(), ElementsAre(10, 20, 30));
  EXPECT_EQ(*FindCheckpoint(folder()), Path("step-00000030"));
  const absl::Status status = ReadManifest(Path("step-00000030/")).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_FALSE(IsDamaged(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(Path("step-00000030") + ": is a link to "),
                    HasSubstr(Path("nowhere"))));
}

TEST_F(StepFoldersTest, OfALinkTheLinkAloneIsSetAsideOrDeleted) {
  const std::string data = Path("elsewhere/") + kShard;
  fs::create_directory(Path("elsewhere"));
  Put(std::string("elsewhere/") + kShard, "bytes");
  for (const char* slash : {"", "/"}) {
    const std::string link = Path("step-00000010");
    fs::create_symlink(Path("elsewhere"), link);
    const std::string bad = SetAsideDamaged(link + slash, "why").value();
    EXPECT_TRUE(fs::is_symlink(bad));
    EXPECT_THAT(Steps(), IsEmpty());
    fs::rename(bad, link);
    EXPECT_EQ(DeleteCheckpoint(link + slash), absl::OkStatus());
    EXPECT_FALSE(fs::exists(fs::symlink_status(link)));
  }
  EXPECT_THAT(Names(), ElementsAre("elsewhere"));
  EXPECT_EQ(std::distance(fs::directory_iterator(Path("elsewhere")), {}), 1);
  EXPECT_EQ(fs::file_size(data), 5u);
}

TEST_F(StepFoldersTest, WhatShowsThatARunHadACheckpointIsFound) {
  EXPECT_EQ(FindTraceOfCheckpoint(folder()).value(), "");
  for (const char* name : {"RUN_ID", "LOCK", "metrics.jsonl", "log.txt",
                           "cmdline.txt", ".old-notes", "latest.tmp-1"}) {
    Put(name, "x");
  }
  EXPECT_EQ(FindTraceOfCheckpoint(folder()).value(), "");
  const std::string old = SetAsideOld(PutStep(10)).value();
  EXPECT_EQ(FindTraceOfCheckpoint(folder()).value(),
            fs::path(old).filename().string());
  fs::remove_all(old);
  NameLatest({folder(), 10, ""});
  EXPECT_EQ(FindTraceOfCheckpoint(folder()).value(), "latest");
}

TEST_F(StepFoldersTest, OfSavesThatFailedTheirReadBackTheNewestIsKept) {
  for (const int64_t step : {10, 10, 20}) {
    const std::string failed = SetAsideFailed(PutStep(step), "why").value();
    EXPECT_THAT(fs::path(failed).filename().string(),
                MatchesRegex("\\.failed-step-000000[12]0-[0-9]+T[0-9.]+"));
    EXPECT_TRUE(fs::exists(failed + "/WHY.txt"));
    EXPECT_THAT(Names(), ElementsAre(fs::path(failed).filename().string()));
  }
  EXPECT_THAT(ListDamaged(folder()).value(), IsEmpty());
  // A person's notes keep theirs.
  const std::string noted = SetAsideFailed(PutStep(30), "why").value();
  Put(fs::path(noted).filename().string() + "/notes.txt", "mine");
  fs::create_directory(Path(".failed-step-mine"));
  SetAsideFailed(PutStep(40), "why").value();
  EXPECT_THAT(Names(), SizeIs(3));
  EXPECT_TRUE(fs::exists(noted + "/" + kShard));
}

TEST_F(StepFoldersTest, WhatIsSetAsideKeepsItsBytesAndIsNotListed) {
  const std::string bad = SetAsideDamaged(PutStep(10), "why").value();
  EXPECT_THAT(fs::path(bad).filename().string(),
              MatchesRegex("\\.bad-step-00000010-[0-9]+T[0-9.]+"));
  const std::string old = SetAsideOld(PutStep(10) + "/").value();
  EXPECT_THAT(fs::path(old).filename().string(),
              MatchesRegex("\\.old-step-00000010-[0-9]+T[0-9.]+"));
  EXPECT_TRUE(fs::exists(bad + "/" + kShard));
  EXPECT_TRUE(fs::exists(bad + "/WHY.txt"));
  EXPECT_TRUE(fs::exists(old + "/" + kShard));
  EXPECT_THAT(Steps(), IsEmpty());
  // A step that goes bad twice is kept twice.
  const std::string again = SetAsideDamaged(PutStep(10), "why").value();
  EXPECT_NE(again, bad);
  EXPECT_THAT(ListDamaged(folder()).value(),
              ElementsAre(fs::path(bad).filename().string(),
                          fs::path(again).filename().string()));
  EXPECT_EQ(ExitCodeOf(SetAsideDamaged(Path("step-00000010"), "").status()),
            ExitCode::kStorage);
}

TEST_F(StepFoldersTest, DeletingClearsWhatADeletionThatDiedLeft) {
  PutStep(10);
  fs::create_directory(Path(".trash-step-00000010"));
  Put(std::string(".trash-step-00000010/") + kShard, "old");
  EXPECT_EQ(DeleteCheckpoint(Path("step-00000010")), absl::OkStatus());
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_EQ(ExitCodeOf(DeleteCheckpoint(Path("step-00000010"))),
            ExitCode::kStorage);
}

TEST_F(StepFoldersTest, ADeletionLeavesAFolderWithMoreThanACheckpoint) {
  const std::string step = PutStep(10);
  fs::create_directory(step + "/eval");
  const absl::Status status = DeleteCheckpoint(step);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_THAT(std::string(status.message()), HasSubstr(step + "/eval"));
  EXPECT_TRUE(fs::exists(step + "/" + kShard));
  fs::remove(step + "/eval");
  for (const char* name :
       {"MANIFEST.json", "WHY.txt", "VERIFIED", "WHY.txt.tmp-7"}) {
    Put(std::string("step-00000010/") + name, "");
  }
  EXPECT_EQ(DeleteCheckpoint(step), absl::OkStatus());
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(StepFoldersTest, LeftoversGoAndEverythingElseStays) {
  PutStep(10);
  const std::string save_id(32, 'a');
  const auto put_folder = [this](const std::string& name,
                                 const std::string& file) {
    fs::create_directory(Path(name));
    Put(name + "/" + file, "mine");
    return name;
  };
  put_folder(".tmp-20-" + save_id, kShard);
  put_folder(".trash-step-00000005", kShard);
  for (const char* name :
       {"latest.tmp-77", "RUN_ID.tmp-9", "RUN_ID.tmp-0123456789abcdef"}) {
    Put(name, "");
  }
  std::vector<std::string> kept = {
      "step-00000010", put_folder(".bad-step-00000007-x", kShard),
      put_folder(".old-step-00000008-x", kShard),
      // Names like ours, of somebody else's things.
      put_folder(".tmp-backup", kShard), put_folder(".tmp-20-ab", kShard),
      put_folder(".tmp-x-" + save_id, kShard),
      put_folder(".tmp-30-" + save_id, "notes.txt"),
      put_folder(".trash-mine", kShard), put_folder(".trash-step-7", kShard),
      put_folder(".trash-step-00000006", "model.safetensors")};
  for (const char* name : {"latest", "LOCK", "mine.tmp-1", "latest.tmp-backup",
                           ".tmp-file", ".trash-step-00000009"}) {
    Put(name, "");
    kept.push_back(name);
  }
  EXPECT_EQ(RemoveLeftovers(folder()), absl::OkStatus());
  std::sort(kept.begin(), kept.end());
  EXPECT_EQ(Names(), kept);
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
  SetAsideDamaged(Path("step-00000050"), "why").IgnoreError();
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
  fs::create_symlink(Path("nowhere"), Path("step-00000070"));
  EXPECT_THAT(StepsAfter({.keep_last = 2}, {50, 60, 70}),
              ElementsAre(10, 50, 60, 70));
  EXPECT_TRUE(fs::exists(Path("step-00000010/") + kShard));
}

TEST_F(RetentionTest, OneThatHoldsMoreThanACheckpointStaysAndTheOthersGo) {
  Put("step-00000020/notes.txt", "mine");
  EXPECT_EQ(
      ExitCodeOf(DeleteOldCheckpoints(folder(), {.keep_last = 2}, {50, 60})),
      ExitCode::kCheckpoint);
  EXPECT_THAT(Steps(), ElementsAre(20, 50, 60));
}

TEST_F(RetentionTest, ThoseMarkedByEarlierStartsCountAsKept) {
  MarkVerified(Path("step-00000040"));
  MarkVerified(Path("step-00000050"));
  MarkVerified(Path("step-00000090"));  // that is gone by now
  EXPECT_THAT(StepsAfter({.keep_last = 3}, {}), SizeIs(6));
  EXPECT_THAT(StepsAfter({.keep_last = 3}, {60}), ElementsAre(40, 50, 60));
}

TEST_F(RetentionTest, NothingIsWrittenBehindALink) {
  fs::rename(Path("step-00000010"), Path("elsewhere"));
  fs::create_symlink(Path("elsewhere"), Path("step-00000010"));
  MarkVerified(Path("step-00000010"));
  EXPECT_FALSE(fs::exists(Path("elsewhere/VERIFIED")));
}

}  // namespace
}  // namespace lextra
