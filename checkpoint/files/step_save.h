// The commit protocol of a checkpoint: the steps of a save that one rank takes
// for all. Between begin and commit every rank writes its shard
// (checkpoint/files/shard_file.h) into the save's folder; CheckpointSaver
// strings the steps together over the ranks. Without LibTorch.
//
// A save that dies anywhere leaves a .tmp-* folder, which no reader looks at.
// The rename is the commit; it is durable when CommitSave returns, and success
// is reported only then.
#ifndef LEXTRA_CHECKPOINT_FILES_STEP_SAVE_H_
#define LEXTRA_CHECKPOINT_FILES_STEP_SAVE_H_

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/files/manifest.h"

namespace lextra {

// What a manifest says beside tensors: who saves.
struct SaveOrigin {
  std::string run_id;
  std::string program;
};

// One attempt to write one step of a run. Every attempt has a save id of its
// own, so no file is ever written (or synced) a second time.
struct StepSave {
  std::string run_folder;
  int64_t step = 0;
  std::string save_id;  // 128 random bits in hexadecimal digits

  std::string temporary_folder() const;  // RUN/.tmp-<step>-<save id>
  std::string step_folder() const;       // RUN/step-<step>
};

// Draws a save id and makes the temporary folder. CheckpointError if the step
// exists already; StorageError where there is no place for 1.2 x `num_bytes`.
absl::StatusOr<StepSave> BeginSave(const std::string& run_folder, int64_t step,
                                   int64_t num_bytes);

// When all shards are durable: writes the manifest, syncs the folder, renames
// it without replacing anything, syncs the run folder. After an error the
// temporary folder is left for AbandonSave.
absl::Status CommitSave(const StepSave& save, const SaveOrigin& origin,
                        const TrainingState& state,
                        const std::vector<Manifest>& shards);

// The end of CommitSave, when the manifest is in the folder too: sync, rename,
// sync.
absl::Status CommitFolder(const StepSave& save);

// Names the step in RUN/latest. The commit stands whatever happens here:
// trouble is a warning.
void NameLatest(const StepSave& save);

// Notes in a step folder that it was read back whole, for the retention of
// later starts. Links are not written to. Trouble is a warning, as above.
void MarkVerified(const std::string& step_folder);

// Removes the temporary folder.
absl::Status AbandonSave(const StepSave& save);

// Which checkpoints stay.
struct Retention {
  int keep_last = 2;       // the newest this many, at least 2
  int64_t keep_every = 0;  // and steps that are a multiple of this; 0: none
  // And the newest of at most this step: the last before a streak of skipped
  // steps, whose checkpoints may be of a run that has gone wrong.
  int64_t last_good_step = std::numeric_limits<int64_t>::max();
};

// Deletes checkpoints older than the newest `keep_last` of those that are there
// and were read back from storage since they were written: they are marked so
// or in `verified`. Others never count as kept. Links are a person's and stay.
absl::Status DeleteOldCheckpoints(const std::string& run_folder,
                                  const Retention& retention,
                                  const std::set<int64_t>& verified);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_STEP_SAVE_H_
