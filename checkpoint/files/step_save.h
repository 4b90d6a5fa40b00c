// The commit protocol of a checkpoint: the steps of a save that one rank takes
// for all. Between begin and commit every rank writes its shard
// (checkpoint/files/shard_file.h) into the save's folder; CheckpointSaver
// coordinates the ranks. Without LibTorch.
//
// A save that dies at any point leaves a .tmp-* folder, which readers ignore.
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

// The run and the program that save, for the manifest.
struct SaveOrigin {
  std::string run_id;
  std::string program;
};

// One attempt to write one step of a run. Every attempt has its own save id, so
// no file is ever written (or synced) twice.
struct StepSave {
  std::string run_folder;
  int64_t step = 0;
  std::string save_id;  // 128 random bits in hexadecimal digits

  std::string temporary_folder() const;  // RUN/.tmp-<step>-<save id>
  std::string step_folder() const;       // RUN/step-<step>
};

// Draws a save id and creates the temporary folder. CheckpointError if the step
// already exists; StorageError if there is no space for 1.2 x `num_bytes`.
absl::StatusOr<StepSave> BeginSave(const std::string& run_folder, int64_t step,
                                   int64_t num_bytes);

// When all shards are durable: writes the manifest, syncs the folder, renames
// it without replacing anything, syncs the run folder. After an error the
// temporary folder is left for AbandonSave.
absl::Status CommitSave(const StepSave& save, const SaveOrigin& origin,
                        const TrainingState& state,
                        const std::vector<Manifest>& shards);

// The rest of CommitSave, once the manifest is in the folder: sync, rename,
// sync.
absl::Status CommitFolder(const StepSave& save);

// Names the step in RUN/latest. A failure is only a warning: the step stays
// committed.
void NameLatest(const StepSave& save);

// Marks a step folder as read back intact, for the retention of later starts.
// Nothing is written through links. A failure is only a warning.
void MarkVerified(const std::string& step_folder);

// Removes the temporary folder.
absl::Status AbandonSave(const StepSave& save);

// Which checkpoints are kept.
struct Retention {
  int keep_last = 2;       // the newest this many, at least 2
  int64_t keep_every = 0;  // and steps that are a multiple of this; 0: none
  // And the newest up to this step: the last before a streak of skipped steps,
  // whose checkpoints may be from a run that has diverged.
  int64_t last_good_step = std::numeric_limits<int64_t>::max();
};

// Deletes checkpoints older than the newest `keep_last` existing ones that were
// read back from storage after they were written: they are marked so or in
// `verified`. Others never count as kept. Links belong to a person and stay.
absl::Status DeleteOldCheckpoints(const std::string& run_folder,
                                  const Retention& retention,
                                  const std::set<int64_t>& verified);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_STEP_SAVE_H_
