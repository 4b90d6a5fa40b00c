#include "checkpoint/checkpoint_saver.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/io/system_calls.h"
#include "base/log.h"
#include "base/work_counter.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/snapshot.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

using Clock = std::chrono::steady_clock;

// Of a background thread: it gets about a fifteenth of a core that a training
// thread also wants, so steps hardly slow down and a write still finishes.
constexpr int kBackgroundNice = 12;

// How often a waiting thread checks whether the background thread progresses.
constexpr auto kLook = std::chrono::milliseconds(100);

std::vector<Manifest> GatherManifests(Communicator& world,
                                      const Manifest& mine) {
  std::vector<Manifest> all;
  for (const std::string& text : GatherTexts(world, mine.SerializeAsString())) {
    TORCH_CHECK(all.emplace_back().ParseFromString(text));
  }
  return all;
}

}  // namespace

CheckpointSaver::CheckpointSaver(Communicator& world, Options options,
                                 const std::vector<ShardedTensor>& tensors)
    : world_(world),
      options_(std::move(options)),
      image_(TensorsToStore(tensors, options_.max_tensor)) {
  if (options_.loaded_step) verified_.insert(*options_.loaded_step);
  // Not a stage: the first Start waits for it.
  RunInBackground(Stage::kIdle, [this] {
    image_.Touch();
    return absl::OkStatus();
  });
}

CheckpointSaver::~CheckpointSaver() = default;

void CheckpointSaver::RunInBackground(Stage stage,
                                      std::function<absl::Status()> work) {
  stage_ = stage;
  try {
    if (sys::MayStartThread() != 0) {
      throw std::system_error(errno, std::generic_category());
    }
    background_ = std::async(std::launch::async, [this, work] {
      const ScopedWorkCounter counted(background_work_);
      // On Linux only of the calling thread; saves work without it.
      setpriority(PRIO_PROCESS, 0, kBackgroundNice);
      return work();
    });
  } catch (const std::system_error& error) {
    // A process at its thread limit still saves.
    LogWarning("failed to start a thread for a save, training waits for it: %s",
               error.what());
    std::promise<absl::Status> done;
    background_ = done.get_future();
    done.set_value(work());
  }
}

bool CheckpointSaver::StageIsDone() const {
  return !background_.valid() ||
         background_.wait_for(std::chrono::seconds(0)) ==
             std::future_status::ready;
}

absl::Status CheckpointSaver::BackgroundResult() {
  if (!background_.valid()) return absl::OkStatus();
  uint64_t seen = background_work_.count();
  while (background_.wait_for(kLook) != std::future_status::ready) {
    const uint64_t done = background_work_.count();
    if (std::exchange(seen, done) != done) CountWork();
  }
  return background_.get();
}

// The save id that rank 0 drew, once its temporary folder exists.
absl::StatusOr<StepSave> CheckpointSaver::BeginTogether(int64_t step) {
  const at::Tensor num_bytes =
      at::full({1}, static_cast<int64_t>(image_.data().size()), at::kLong);
  world_.AllReduce(num_bytes, ReduceOp::kSum);
  LEXTRA_ASSIGN_OR_RETURN(
      std::string save_id,
      LoadOnRankZero(world_, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_ASSIGN_OR_RETURN(
            StepSave save,
            BeginSave(options_.run_folder, step, num_bytes.item<int64_t>()));
        return save.save_id;
      }));
  return StepSave{options_.run_folder, step, std::move(save_id)};
}

void CheckpointSaver::Start(const TrainingState& state,
                            const std::vector<ShardedTensor>& tensors) {
  const Clock::time_point start = Clock::now();
  Finish();
  BackgroundResult().IgnoreError();
  // The step exists but could not be read back: try again.
  if (is_committed_ && save_.step == state.step()) return Verify();
  is_committed_ = false;
  figures_ = SaveOutcome();
  figures_.step = state.step();
  figures_.num_bytes = static_cast<int64_t>(image_.data().size());
  state_ = state;
  absl::StatusOr<StepSave> save = BeginTogether(state.step());
  if (!save.ok()) return Report(save.status());
  save_ = *std::move(save);
  FillImage(tensors, &image_);
  sys::KillPoint("copied");
  RunInBackground(Stage::kWriting, [this] {
    const Clock::time_point written_from = Clock::now();
    absl::StatusOr<Manifest> shard =
        WriteShard(save_.temporary_folder(), save_.save_id, world_.rank(),
                   world_.size(), image_);
    if (shard.ok()) shard_ = *std::move(shard);
    figures_.write_seconds = SecondsSince(written_from);
    return shard.status();
  });
  figures_.stall_seconds = SecondsSince(start);
}

void CheckpointSaver::Advance() {
  if (stage_ == Stage::kIdle) return;
  const absl::Status agreed = AgreeOnStatus(world_, BackgroundResult());
  switch (std::exchange(stage_, Stage::kIdle)) {
    case Stage::kIdle:
      return;
    case Stage::kWriting:
      if (agreed.ok()) return Commit();
      Report(agreed);
      return Clean([this] { return AbandonSave(save_); });
    case Stage::kCommitting:
      is_committed_ = agreed.ok();
      if (agreed.ok()) return Verify();
      Report(agreed);
      return Clean([this] { return AbandonSave(save_); });
    case Stage::kVerifying:
      if (!agreed.ok()) return ReportUnreadable(agreed);
      Report(agreed);
      return Clean([this] { return KeepVerified(); });
    case Stage::kCleaning:
      if (!agreed.ok()) LogWarning("after a save: %s", agreed.message());
      return;
  }
}

void CheckpointSaver::Commit() {
  std::vector<Manifest> shards = GatherManifests(world_, shard_);
  sys::KillPoint("gathered");
  stage_ = Stage::kCommitting;
  if (world_.rank() != 0) return;
  RunInBackground(Stage::kCommitting, [this, shards = std::move(shards)] {
    return CommitSave(save_, options_.origin, state_, shards);
  });
}

void CheckpointSaver::Verify() {
  RunInBackground(Stage::kVerifying, [this] {
    return VerifyShard(save_.step_folder(), shard_, 0);
  });
}

void CheckpointSaver::Clean(std::function<absl::Status()> work) {
  stage_ = Stage::kCleaning;
  if (world_.rank() == 0) RunInBackground(Stage::kCleaning, std::move(work));
}

// On rank 0, once all ranks have read their shards back.
absl::Status CheckpointSaver::KeepVerified() {
  NameLatest(save_);
  MarkVerified(save_.step_folder());
  if (options_.loaded_step) {
    MarkVerified(
        StepSave{options_.run_folder, *options_.loaded_step, ""}.step_folder());
    options_.loaded_step.reset();  // once is enough
  }
  verified_.insert(save_.step);
  Retention retention = options_.retention;
  retention.last_good_step = state_.step() - state_.skipped_in_a_row();
  return DeleteOldCheckpoints(options_.run_folder, retention, verified_);
}

// A failing device says nothing about the stored data: the step stays, and a
// new save of it reads it again. A corrupt step is set aside for a new attempt.
void CheckpointSaver::ReportUnreadable(const absl::Status& status) {
  const absl::Status failed = WithContext(status, "read back after the save");
  Report(failed);
  if (!IsDamaged(status)) return;
  is_committed_ = false;
  Clean([this, reason = std::string(failed.message())] {
    return SetAsideFailed(save_.step_folder(), reason).status();
  });
}

void CheckpointSaver::Report(const absl::Status& status) {
  figures_.status = status;
  outcomes_.push_back(figures_);
}

void CheckpointSaver::Finish() {
  while (stage_ != Stage::kIdle) Advance();
}

std::vector<SaveOutcome> CheckpointSaver::TakeOutcomes() {
  return std::exchange(outcomes_, {});
}

}  // namespace lextra
