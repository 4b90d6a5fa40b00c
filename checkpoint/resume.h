// Which checkpoint a run resumes from: the newest intact one, found by trying.
// Corrupt ones are set aside (.bad-*) on the way.
#ifndef LEXTRA_CHECKPOINT_RESUME_H_
#define LEXTRA_CHECKPOINT_RESUME_H_

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "parallel/communicator.h"

namespace lextra {

//          never had one   some valid       none valid, or all gone
//   auto   from scratch    newest valid     error
//   must   error           newest valid     error
//   none   from scratch    error            error
//   step   error           only that one    error
struct ResumeMode {
  enum Kind { kAuto, kMust, kNone, kStep };
  Kind kind = kAuto;
  int64_t step = 0;  // of kStep
};

// auto, must, none or a step's number; UsageError.
absl::StatusOr<ResumeMode> ParseResumeMode(const std::string& text);

// Loads a checkpoint. After a DamagedError the next older one is tried, and
// everything is loaded again; any other error ends the search.
using LoadCheckpoint = std::function<absl::Status(
    const std::string& step_folder, const Manifest& manifest)>;

// CheckpointError, on all ranks, if the step folder's manifest differs between
// them: hosts may see different folders under one name. Collective.
absl::Status CheckSameCheckpoint(Communicator& world,
                                 const std::string& step_folder);

// Finds and loads a checkpoint of the run, and returns its folder, or an empty
// string for a run that starts from scratch. With kStep newer checkpoints are
// set aside (.old-*), since the run will write these steps again. Collective;
// the status is the same on all ranks.
absl::StatusOr<std::string> LoadNewestValid(Communicator& world,
                                            const std::string& run_folder,
                                            ResumeMode mode,
                                            const LoadCheckpoint& load);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_RESUME_H_
