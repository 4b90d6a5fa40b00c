// The folders of a run's steps, by name:
//
//   RUN/step-00000100/            a committed checkpoint
//   RUN/.tmp-100-<save id>/       a save in progress or abandoned; never loaded
//   RUN/.trash-step-00000100/     being deleted
//   RUN/.bad-step-00000100-<date> found damaged and set aside; never deleted
//   RUN/.old-step-00000100-<date> set aside because the run was set back to an
//                                 earlier step; never deleted
//   RUN/latest                    a hint for people and scripts, never trusted
#ifndef LEXTRA_CHECKPOINT_STEP_FOLDERS_H_
#define LEXTRA_CHECKPOINT_STEP_FOLDERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace lextra {

std::string StepFolderName(int64_t step);  // step-00000100
// The step of a path whose last part is a step folder's name.
std::optional<int64_t> StepOf(const std::string& folder);

// RUN/.tmp-<step>-<save id>
std::string SaveFolder(const std::string& run_folder, int64_t step,
                       const std::string& save_id);

// Step folders of a run, oldest first (empty if none; InputError if no folder).
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder);

// Damaged checkpoints of a run that were set aside (.bad-*), by name.
absl::StatusOr<std::vector<std::string>> ListDamaged(
    const std::string& run_folder);

// The folder of the newest step in a run folder, or `path` itself if it holds a
// MANIFEST.json. CheckpointError where there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

// Renames a step folder to .bad-.. or .old-.., which no reader looks at, and
// returns the new path.
absl::StatusOr<std::string> SetAsideDamaged(const std::string& step_folder);
absl::StatusOr<std::string> SetAsideOld(const std::string& step_folder);

// Deletes a step folder. It is renamed first: a deletion that dies leaves no
// half checkpoint.
absl::Status DeleteCheckpoint(const std::string& step_folder);

// Removes what dead saves and deletions left behind. Only the job that holds
// the run folder may do that.
absl::Status RemoveLeftovers(const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_STEP_FOLDERS_H_
