// Saving while training goes on. The step stops only for a copy of this rank's
// tensors (FillImage); a thread writes, syncs and reads back, without any call
// to the communicator. What the ranks must agree on happens on the caller's
// thread, at step boundaries of the caller's choice:
//
//   Start      wait for the save before, begin, copy      all ranks
//    | write this rank's shard                             thread of each rank
//   Advance    gather the shards' descriptions
//    | manifest, sync, rename, sync: the commit            thread of rank 0
//   Advance    the commit is known to all ranks
//    | read this rank's shard back, compare checksums      thread of each rank
//   Advance    the verdict: the one outcome that is reported
//    | name it latest, mark it, delete what need not stay  thread of rank 0
//   Advance    done
//
// Memory: this rank's share of the checkpoint, held for the saver's life, and a
// few MiB. An fsync that fails fails the save; a later save writes new files.
// One that is damaged when it is read back is set aside (.failed-*); one that a
// device does not give back stays, and a new save of that step reads it again.
// Where no thread can be made, the caller's does the work.
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

// How a save ended; the same on all ranks but for the figures, which are this
// rank's.
struct SaveOutcome {
  int64_t step = 0;
  absl::Status status;       // OK: committed, durable and read back
  int64_t num_bytes = 0;     // of this rank's shard
  double stall_seconds = 0;  // in which the caller's thread was held up
  double write_seconds = 0;  // of the shard, in the background
};

class CheckpointSaver {
 public:
  struct Options {
    std::string run_folder;
    SaveOrigin origin;
    Retention retention;
    // The checkpoint that the run resumed from: its bytes were compared then.
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

  // Collective. Finishes the save before, then starts one of state.step().
  void Start(const TrainingState& state,
             const std::vector<ShardedTensor>& tensors);

  // Of this rank's share of a checkpoint, as much as the copy holds.
  int64_t num_bytes() const {
    return static_cast<int64_t>(image_.data().size());
  }

  bool is_idle() const { return stage_ == Stage::kIdle; }
  // Whether this rank's thread has nothing left to do: Advance() then waits for
  // no disk. Not collective.
  bool StageIsDone() const;
  // Collective: goes on to the next stage, once all ranks are done.
  void Advance();
  // Collective: until idle.
  void Finish();

  // Saves that ended since the last call, each once.
  std::vector<SaveOutcome> TakeOutcomes();

 private:
  enum class Stage { kIdle, kWriting, kCommitting, kVerifying, kCleaning };

  absl::StatusOr<StepSave> BeginTogether(int64_t step);
  void RunInBackground(Stage stage, std::function<absl::Status()> work);
  // Waits for the thread, whose work is this thread's progress meanwhile. OK
  // where none runs.
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
