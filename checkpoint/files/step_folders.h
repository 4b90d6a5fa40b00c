// The folders of a run's steps, by name:
//
//   RUN/step-00000100/            a committed checkpoint, or a link to one
//   RUN/step-00000100/VERIFIED    it was read back whole since it was written
//   RUN/.tmp-100-<save id>/       a save in progress or abandoned; never loaded
//   RUN/.trash-step-00000100/     being deleted
//   RUN/.bad-step-00000100-<date> found damaged and set aside; never deleted
//   RUN/.old-step-00000100-<date> set aside because the run was set back to an
//                                 earlier step; never deleted
//   RUN/.failed-step-00000100-<date>  a save that was not what had been written
//                                 when it was read back; the newest one is kept
//   RUN/latest                    the step of the newest save that was read
//   back:
//                                 a hint, and the proof that there was one
//
// Nothing is removed but what these names and the files inside prove to be a
// checkpoint's: a folder that holds anything else stays as it is. Of a link the
// link alone is renamed or removed, never what it points to.
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
// In a step folder: it has been read back whole since it was written.
inline constexpr char kVerifiedName[] = "VERIFIED";

// RUN/.tmp-<step>-<save id>
std::string SaveFolder(const std::string& run_folder, int64_t step,
                       const std::string& save_id);

// Step folders of a run, and links in their places, oldest first (empty if
// none; InputError if no folder). A link may lead nowhere: ReadManifest says
// so.
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder);

// Damaged checkpoints of a run that were set aside (.bad-*), by name.
absl::StatusOr<std::vector<std::string>> ListDamaged(
    const std::string& run_folder);

// The name of what proves that the run had a checkpoint once (latest, .old-*);
// empty if there is no such thing.
absl::StatusOr<std::string> FindTraceOfCheckpoint(
    const std::string& run_folder);

// The folder of the newest step in a run folder, or `path` itself if it holds a
// MANIFEST.json. CheckpointError where there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

// Renames a step folder to .bad-.., .old-.. or .failed-.., which no reader
// looks at, and returns the new path. The reason is written to its WHY.txt, but
// never behind a link. A failed save takes the place of the one before.
absl::StatusOr<std::string> SetAsideDamaged(const std::string& step_folder,
                                            const std::string& reason);
absl::StatusOr<std::string> SetAsideOld(const std::string& step_folder);
absl::StatusOr<std::string> SetAsideFailed(const std::string& step_folder,
                                           const std::string& reason);

// Deletes a step folder. It is renamed first: a deletion that dies leaves no
// half checkpoint. CheckpointError where it holds what is not a checkpoint's.
absl::Status DeleteCheckpoint(const std::string& step_folder);

// Removes what dead saves and deletions left behind (.tmp-*, .trash-*, and what
// died while it was written of latest and RUN_ID). Only the job that holds the
// run folder may do that.
absl::Status RemoveLeftovers(const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_STEP_FOLDERS_H_
