// The folders of a run's steps, by name:
//
//   RUN/step-00000100/            a committed checkpoint, or a link to one
//   RUN/step-00000100/VERIFIED    it was read back intact after it was written
//   RUN/.tmp-100-<save id>/       a save in progress or abandoned; never loaded
//   RUN/.trash-step-00000100/     being deleted
//   RUN/.bad-step-00000100-<date> corrupt and set aside; never deleted
//   RUN/.old-step-00000100-<date> set aside because the run was reset to an
//                                 earlier step; never deleted
//   RUN/.failed-step-00000100-<date>  a save that was corrupt when it was read
//                                 back; the newest one is kept
//   RUN/latest                    the step of the newest save that was read
//                                 back: a hint, and proof that there was one
//
// Only what these names and the files inside prove to be a checkpoint is ever
// removed; a folder that contains anything else stays. Of a link, only the link
// is renamed or removed, never its target.
#ifndef LEXTRA_CHECKPOINT_FILES_STEP_FOLDERS_H_
#define LEXTRA_CHECKPOINT_FILES_STEP_FOLDERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace lextra {

std::string StepFolderName(int64_t step);  // step-00000100
// The step of a path whose last part is a step folder's name.
std::optional<int64_t> StepOf(const std::string& folder);

inline constexpr char kLatestName[] = "latest";
// In a step folder: it has been read back intact after it was written.
inline constexpr char kVerifiedName[] = "VERIFIED";

// RUN/.tmp-<step>-<save id>
std::string SaveFolder(const std::string& run_folder, int64_t step,
                       const std::string& save_id);

// Step folders of a run, and links in their place, oldest first (empty if none;
// InputError if not a folder). A link may dangle: ReadManifest reports that.
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder);

// Corrupt checkpoints of a run that were set aside (.bad-*), by name.
absl::StatusOr<std::vector<std::string>> ListDamaged(
    const std::string& run_folder);

// The name of a file or folder that proves that the run once had a checkpoint
// (latest, .old-*); empty if there is none.
absl::StatusOr<std::string> FindTraceOfCheckpoint(
    const std::string& run_folder);

// The folder of the newest step in a run folder, or `path` itself if it
// contains a MANIFEST.json. CheckpointError if there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

// Renames a step folder to .bad-.., .old-.. or .failed-.., which readers
// ignore, and returns the new path. The reason is written to its WHY.txt, but
// never through a link. A failed save replaces the previous one.
absl::StatusOr<std::string> SetAsideDamaged(const std::string& step_folder,
                                            const std::string& reason);
absl::StatusOr<std::string> SetAsideOld(const std::string& step_folder);
absl::StatusOr<std::string> SetAsideFailed(const std::string& step_folder,
                                           const std::string& reason);

// Deletes a step folder. It is renamed first, so that an interrupted deletion
// leaves no partial checkpoint. CheckpointError if it contains anything that is
// not part of a checkpoint.
absl::Status DeleteCheckpoint(const std::string& step_folder);

// Removes leftovers of dead saves and deletions (.tmp-*, .trash-*, and
// temporary files of latest and RUN_ID). Only the job that holds the run folder
// may do that.
absl::Status RemoveLeftovers(const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_STEP_FOLDERS_H_
