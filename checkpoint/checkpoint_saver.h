// Saving in the background of training. A step is only paused to copy this
// rank's tensors (FillImage); a thread writes, syncs and reads back, without
// any call to the communicator. What the ranks must agree on happens on the
// caller's thread, at step boundaries that the caller chooses:
//
//   Start      wait for the previous save, begin, copy    all ranks
//    | write this rank's shard                             thread of each rank
//   Advance    gather the shards' descriptions
//    | manifest, sync, rename, sync: the commit            thread of rank 0
//   Advance    the commit is known to all ranks
//    | read this rank's shard back, compare checksums      thread of each rank
//   Advance    the verdict: the one outcome that is reported
//    | name it latest, mark it, delete old checkpoints     thread of rank 0
//   Advance    done
//
// Memory: this rank's share of the checkpoint, held for the saver's life, and a
// few MiB. A failed fsync fails the save; a later save writes new files. A save
// that is corrupt when read back is set aside (.failed-*); one that the device
// fails to read back stays, and a new save of that step reads it again. If no
// thread can be started, the caller's thread does the work.
#ifndef LEXTRA_CHECKPOINT_CHECKPOINT_SAVER_H_
#define LEXTRA_CHECKPOINT_CHECKPOINT_SAVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/work_counter.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/step_save.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"

namespace lextra {

// Outcome of a save; the same on all ranks except for the figures, which are
// this rank's.
struct SaveOutcome {
  int64_t step = 0;
  absl::Status status;       // OK: committed, durable and read back
  int64_t num_bytes = 0;     // of this rank's shard
  double stall_seconds = 0;  // during which the caller's thread was blocked
  double write_seconds = 0;  // of the shard, in the background
};

class CheckpointSaver {
 public:
  struct Options {
    std::string run_folder;
    SaveOrigin origin;
    Retention retention;
    // The checkpoint that the run resumed from, which was verified then.
    std::optional<int64_t> loaded_step = std::nullopt;
    // The largest tensor degree of the model: snapshot.h.
    int max_tensor = 1;
  };

  // For saves of tensors like these (names, boxes, dtypes). `world` outlives
  // this.
  CheckpointSaver(Communicator& world, Options options,
                  const std::vector<ShardedTensor>& tensors);
  CheckpointSaver(const CheckpointSaver&) = delete;
  ~CheckpointSaver();  // waits for the thread; not collective

  // Collective. Finishes the previous save, then starts one of state.step().
  void Start(const TrainingState& state,
             const std::vector<ShardedTensor>& tensors);

  // Size of this rank's share of a checkpoint, and of the copy.
  int64_t num_bytes() const {
    return static_cast<int64_t>(image_.data().size());
  }

  bool is_idle() const { return stage_ == Stage::kIdle; }
  // Whether this rank's thread is done, so that Advance() won't wait for a
  // disk. Not collective.
  bool StageIsDone() const;
  // Collective: enters the next stage, once all ranks are done.
  void Advance();
  // Collective: until idle.
  void Finish();

  // Saves that ended since the previous call.
  std::vector<SaveOutcome> TakeOutcomes();

 private:
  enum class Stage { kIdle, kWriting, kCommitting, kVerifying, kCleaning };

  absl::StatusOr<StepSave> BeginTogether(int64_t step);
  void RunInBackground(Stage stage, std::function<absl::Status()> work);
  // Waits for the thread; its work counts as this thread's progress meanwhile.
  // OK if none runs.
  absl::Status BackgroundResult();
  void Report(const absl::Status& status);
  void Commit();
  void Verify();
  void Clean(std::function<absl::Status()> work);
  absl::Status KeepVerified();
  void ReportUnreadable(const absl::Status& status);

  Communicator& world_;
  Options options_;
  ShardImage image_;
  std::set<int64_t> verified_;  // used on rank 0

  Stage stage_ = Stage::kIdle;
  StepSave save_;
  bool is_committed_ = false;  // and not found damaged
  TrainingState state_;
  Manifest shard_;  // this rank's description
  SaveOutcome figures_;
  std::vector<SaveOutcome> outcomes_;
  WorkCounter background_work_;
  // Last: its thread uses the members above.
  std::future<absl::Status> background_;
};

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_CHECKPOINT_SAVER_H_
