// The steps of a save that need no ranks: begin, write one shard, commit or
// abandon. SaveCheckpoint strings them together over the ranks.
#ifndef LEXTRA_CHECKPOINT_STEP_WRITER_H_
#define LEXTRA_CHECKPOINT_STEP_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/manifest.h"
#include "parallel/parameter.h"

namespace lextra {

// One attempt to write one step of a run.
struct StepSave {
  std::string run_folder;
  int64_t step = 0;
  std::string save_id;

  std::string temporary_folder() const;  // RUN/.tmp-<step>-<save id>
  std::string step_folder() const;       // RUN/step-<step>
};

// On one rank: removes what dead saves and deletions left, draws a save id and
// makes the temporary folder. CheckpointError if the step exists already.
absl::StatusOr<StepSave> BeginSave(const std::string& run_folder, int64_t step);

// On each rank: its shard, made durable. Returns what the shard adds to the
// manifest: its file and this rank's tensors with the boxes that it wrote
// (`file` is `rank`).
absl::StatusOr<Manifest> WriteShard(const StepSave& save, int rank,
                                    int num_ranks,
                                    const std::vector<ShardedTensor>& tensors);

// On one rank, when all shards are durable: writes the manifest and renames.
// After an error the temporary folder is left for AbandonSave.
absl::Status CommitSave(const StepSave& save, const TrainingState& state,
                        const std::vector<Manifest>& shards);

// On one rank, after the commit, which stands whatever happens here: trouble is
// a warning. Names the step in RUN/latest.
void NameLatest(const StepSave& save);
// Deletes all checkpoints but this one and the newest, `keep_last` in all.
void DeleteOldCheckpoints(const StepSave& save, int keep_last);

// On one rank: removes the temporary folder.
void AbandonSave(const StepSave& save);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_STEP_WRITER_H_
