// What a run folder holds beside checkpoints: how the run came about.
//
//   config.textproto   the effective configuration, with a head comment
//   cmdline.txt        one argument a line (those with control characters
//                      escaped as in C), one paragraph a start
//   env.json           versions, hosts and NCCL_/OMPI_/SLURM_/CUDA_ variables
//   log.txt, metrics.jsonl
//   profile-rank<R>.json   where logging.profile is set (step_recorder.h)
//   LOCK, RUN_ID       whose it is (checkpoint/files/run_lock.h)
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

// Makes the folder, takes it for this job, removes what dead saves
// left, and checks that all ranks see the same folder. The lock is rank 0's,
// nothing on others; the status is the same on all ranks. Collective.
absl::StatusOr<std::unique_ptr<RunLock>> TakeRunFolder(
    Communicator& world, const std::string& run_folder,
    const std::string& run_id);

// Writes its three files. StorageError where that is not possible. Rank 0 only.
absl::Status RecordOrigin(const std::string& run_folder,
                          const RunConfig& config, const RunOrigin& origin);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_RUN_FOLDER_H_
