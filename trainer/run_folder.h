// What a run folder holds in addition to checkpoints: the origin of the run.
//
//   config.textproto   the effective configuration, with a header comment
//   cmdline.txt        one argument per line (those with control characters
//                      escaped as in C), one paragraph per start
//   env.json           versions, hosts and NCCL_/OMPI_/SLURM_/CUDA_ variables
//   log.txt, metrics.jsonl
//   profile-rank<R>.json   where logging.profile is set (step_recorder.h)
//   LOCK, RUN_ID       its owner (checkpoint/files/run_lock.h)
#ifndef LEXTRA_TRAINER_RUN_FOLDER_H_
#define LEXTRA_TRAINER_RUN_FOLDER_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/files/run_lock.h"
#include "config/run.pb.h"
#include "parallel/communicator.h"

namespace lextra {

struct RunOrigin {
  std::vector<std::string> command;     // as typed
  std::string versions;                 // one line
  std::vector<std::string> rank_hosts;  // by rank
};

// Creates the folder, locks it for this job, removes the leftovers of dead
// saves, and checks that all ranks see the same folder. Rank 0 gets the lock,
// others null; the status is the same on all ranks. Collective.
absl::StatusOr<std::unique_ptr<RunLock>> TakeRunFolder(
    Communicator& world, const std::string& run_folder,
    const std::string& run_id);

// Writes its three files. StorageError if that fails. Rank 0 only.
absl::Status RecordOrigin(const std::string& run_folder,
                          const RunConfig& config, const RunOrigin& origin);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_RUN_FOLDER_H_
