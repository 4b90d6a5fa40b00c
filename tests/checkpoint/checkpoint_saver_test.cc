// Saving while training continues, on real ranks, with storage that fails on
// purpose.
#include "checkpoint/checkpoint_saver.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/io/system_calls.h"
#include "base/work_counter.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/load_tensors.h"
#include "checkpoint/resume.h"
#include "parallel/agreement.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kRows = 8;

class CheckpointSaverTest : public ::testing::Test {
 protected:
  CheckpointSaverTest() : world_(testing::Session().World()) {
    if (world_->rank() == 0) folder_.emplace();
    run_folder_ =
        BroadcastText(*world_, folder_ ? folder_->path() + "/run" : "", 0);
    mine_ = at::zeros({kRows, 4});
    MakeSaver({}, std::nullopt);
  }
  ~CheckpointSaverTest() override {
    saver_.reset();
    world_->Barrier();
  }

  // As a start of the run does that resumes from `loaded_step`.
  void MakeSaver(const Retention& retention,
                 std::optional<int64_t> loaded_step) {
    saver_.reset();
    saver_.emplace(*world_,
                   CheckpointSaver::Options{
                       .run_folder = run_folder_,
                       .origin = {.run_id = "the run", .program = "a test"},
                       .retention = retention,
                       .loaded_step = loaded_step,
                       .max_tensor = 1},
                   Tensors());
  }

  // One tensor, of which each rank has its rows.
  std::vector<ShardedTensor> Tensors() const {
    return {{.name = "rows",
             .global_shape = {kRows * world_->size(), 4},
             .box = {{kRows * world_->rank(), 0}, {kRows, 4}},
             .tensor = mine_}};
  }

  void Start(int64_t step) {
    TrainingState state;
    state.set_step(step);
    saver_->Start(state, Tensors());
  }

  // The one outcome of a whole save.
  absl::Status Save(int64_t step) {
    Start(step);
    saver_->Finish();
    const std::vector<SaveOutcome> outcomes = saver_->TakeOutcomes();
    EXPECT_EQ(outcomes.size(), 1u);
    EXPECT_EQ(outcomes.at(0).step, step);
    return outcomes.at(0).status;
  }

  // Names in the run folder that begin so, on all ranks.
  int NumNamed(const std::string& prefix) {
    world_->Barrier();
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(run_folder_)) {
      count += entry.path().filename().string().starts_with(prefix);
    }
    world_->Barrier();
    return count;
  }

  // The value of this rank's elements in the newest checkpoint that is whole.
  double Loaded(ResumeMode mode = {}) {
    const at::Tensor loaded = at::full({kRows, 4}, -1.0, at::kFloat);
    const absl::StatusOr<std::string> folder = LoadNewestValid(
        *world_, run_folder_, mode,
        [&](const std::string& step_folder, const Manifest& manifest) {
          ShardedTensor wanted = Tensors()[0];
          wanted.tensor = loaded;
          return LoadTensors(step_folder, manifest, {wanted});
        });
    EXPECT_TRUE(folder.ok()) << folder.status();
    return loaded.min().item<double>();
  }

  std::vector<int64_t> Steps() {
    world_->Barrier();
    const std::vector<std::string> folders =
        ListCheckpoints(run_folder_).value();
    std::vector<int64_t> steps;
    for (const std::string& folder : folders) {
      steps.push_back(StepOf(folder).value());
    }
    world_->Barrier();
    return steps;
  }

  std::unique_ptr<Communicator> world_;
  std::optional<testing::TemporaryFolder> folder_;
  std::string run_folder_;
  at::Tensor mine_;
  std::optional<CheckpointSaver> saver_;
};

TEST_F(CheckpointSaverTest, WritesWhatTheTensorsHeldWhenTheSaveWasStarted) {
  mine_.fill_(3);
  Start(1);
  mine_.fill_(4);  // training continues
  saver_->Finish();
  const std::vector<SaveOutcome> outcomes = saver_->TakeOutcomes();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].status, absl::OkStatus());
  EXPECT_EQ(outcomes[0].step, 1);
  EXPECT_EQ(outcomes[0].num_bytes, kRows * 4 * 4);
  EXPECT_TRUE(saver_->is_idle());
  EXPECT_EQ(Loaded(), 3);
  const Manifest manifest =
      ReadManifest(absl::StrCat(run_folder_, "/", StepFolderName(1))).value();
  EXPECT_EQ(manifest.run_id(), "the run");
  EXPECT_EQ(manifest.program(), "a test");
}

TEST_F(CheckpointSaverTest, TheNextSaveWaitsForTheLast) {
  mine_.fill_(1);
  Start(1);
  mine_.fill_(2);
  Start(2);
  saver_->Finish();
  EXPECT_EQ(saver_->TakeOutcomes().size(), 2u);
  EXPECT_THAT(Steps(), ElementsAre(1, 2));
  EXPECT_EQ(Loaded({ResumeMode::kStep, 1}), 1);
}

TEST_F(CheckpointSaverTest,
       AnyFailureOnAnyRankFailsTheSaveOnAllAndTheNextWorks) {
  mine_.fill_(7);
  ASSERT_EQ(Save(1), absl::OkStatus());
  int64_t step = 1;
  const auto fails = [&](const std::string& rule) {
    SCOPED_TRACE(rule);
    std::optional<sys::ScopedFaults> faults;
    faults.emplace(rule);
    const absl::Status status = Save(++step);
    faults.reset();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage) << status;
    const std::string message(status.message());
    EXPECT_EQ(BroadcastText(*world_, message, 0), message);
    EXPECT_THAT(Steps(), ElementsAre(1));
  };
  fails("statvfs:1:EIO:rank=0");
  fails("mkdir:1:EIO:path=/.tmp-:rank=0");
  fails("rename:1:EIO:path=/.tmp-:rank=0");
  for (const int rank : {0, world_->size() - 1}) {
    for (const char* call : {"open", "write", "fsync", "close"}) {
      fails(absl::StrCat(call, ":1:EIO:path=/.tmp-:rank=", rank));
    }
  }
  EXPECT_EQ(Save(++step), absl::OkStatus());
  EXPECT_THAT(Steps(), ElementsAre(1, step));
}

TEST_F(CheckpointSaverTest, ASaveThatCanNotBeReadBackFailsOnceAndStays) {
  const int last = world_->size() - 1;
  mine_.fill_(6);
  std::optional<sys::ScopedFaults> faults;
  faults.emplace(absl::StrCat("read:1-:EIO:rank=", last));
  const absl::Status status = Save(1);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kStorage);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("read back after the save"));
  // A device that fails says nothing about what is stored.
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(NumNamed("latest"), 0);
  // The same step once more is read once more, and only that.
  EXPECT_EQ(ExitCodeOf(Save(1)), ExitCode::kStorage);
  faults.emplace("mkdir:1-:EIO;write:1-:EIO:path=/shard");
  EXPECT_EQ(Save(1), absl::OkStatus());
  faults.reset();
  EXPECT_THAT(Steps(), ElementsAre(1));
  EXPECT_EQ(NumNamed("latest"), 1);
  EXPECT_EQ(Loaded(), 6);
}

TEST_F(CheckpointSaverTest, SavesThatAreReadBackDamagedFailAndDoNotPileUp) {
  mine_.fill_(6);
  ASSERT_EQ(Save(1), absl::OkStatus());
  std::optional<sys::ScopedFaults> faults;
  faults.emplace(
      absl::StrCat("read:1-:flip:path=/shard:rank=", world_->size() - 1));
  for (const int64_t step : {2, 3, 3, 4, 5}) {
    const absl::Status status = Save(step);
    EXPECT_TRUE(IsDamaged(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("read back after the save"));
    EXPECT_THAT(Steps(), ElementsAre(1));
    EXPECT_EQ(NumNamed(".failed-"), 1);
    EXPECT_EQ(NumNamed(".bad-"), 0);
  }
  faults.reset();
  EXPECT_EQ(Save(5), absl::OkStatus());
  EXPECT_THAT(Steps(), ElementsAre(1, 5));
  EXPECT_EQ(Loaded(), 6);
}

TEST_F(CheckpointSaverTest, RetentionRemembersOverStarts) {
  for (const int keep_last : {2, 3}) {
    std::optional<int64_t> loaded;
    for (int64_t step = 1; step <= 8; ++step) {
      MakeSaver({.keep_last = keep_last}, loaded);
      ASSERT_EQ(Save(step), absl::OkStatus());
      loaded = step;
    }
    EXPECT_EQ(static_cast<int>(Steps().size()), keep_last);
    world_->Barrier();
    if (folder_) std::filesystem::remove_all(run_folder_);
    world_->Barrier();
  }
}

TEST_F(CheckpointSaverTest, WhatWasLoadedCountsAsReadBack) {
  // As of programs that left no mark.
  for (const int64_t step : {1, 2, 3}) ASSERT_EQ(Save(step), absl::OkStatus());
  world_->Barrier();
  if (folder_) {
    const std::vector<std::string> steps = ListCheckpoints(run_folder_).value();
    for (const std::string& step : steps) {
      std::filesystem::remove(step + "/VERIFIED");
    }
  }
  world_->Barrier();
  MakeSaver({.keep_last = 2}, 3);
  ASSERT_EQ(Save(4), absl::OkStatus());
  EXPECT_THAT(Steps(), ElementsAre(3, 4));
}

TEST_F(CheckpointSaverTest, WithoutAThreadTheSaveIsDoneInTheForeground) {
  mine_.fill_(9);
  const sys::ScopedFaults faults("thread:1-:EAGAIN");
  EXPECT_EQ(Save(1), absl::OkStatus());
  EXPECT_GE(faults.num_hits(), 2);
  EXPECT_EQ(Loaded(), 9);
}

TEST_F(CheckpointSaverTest, StagesAreDoneWithoutTheOthers) {
  Start(1);
  // Four stages, each of which ends by itself.
  for (int stage = 0; stage < 4; ++stage) {
    EXPECT_FALSE(saver_->is_idle());
    while (!saver_->StageIsDone()) {
    }
    world_->Barrier();
    saver_->Advance();
  }
  EXPECT_TRUE(saver_->is_idle());
  EXPECT_EQ(saver_->TakeOutcomes().size(), 1u);
}

TEST_F(CheckpointSaverTest, TheThreadsWorkIsThatOfWhoeverWaitsForIt) {
  Start(1);
  saver_->Finish();
  // Open, two writes, fsync and close.
  const sys::ScopedFaults faults("*:1-:delay=0.3:path=/shard-");
  Start(2);
  WorkCounter counter;
  {
    const ScopedWorkCounter counted(counter);
    saver_->Finish();
  }
  EXPECT_GE(counter.count(), 3u);
}

TEST_F(CheckpointSaverTest, AReadThatFailsOnceIsTriedAgain) {
  mine_.fill_(5);
  ASSERT_EQ(Save(1), absl::OkStatus());
  const sys::ScopedFaults faults("read:3:EIO:path=shard");
  EXPECT_EQ(Loaded(), 5);
  EXPECT_THAT(Steps(), ElementsAre(1));
}

}  // namespace
}  // namespace lextra
