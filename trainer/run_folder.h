// What a run folder holds beside checkpoints: how the run came about.
//
//   config.textproto   the effective configuration, with a head comment
//   cmdline.txt        one argument a line, one paragraph a start
//   env.json           versions, hosts and NCCL_/OMPI_/SLURM_/CUDA_ variables
//   log.txt, metrics.jsonl
#ifndef LEXTRA_TRAINER_RUN_FOLDER_H_
#define LEXTRA_TRAINER_RUN_FOLDER_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

struct RunOrigin {
  std::vector<std::string> command;     // as typed
  std::string versions;                 // one line
  std::vector<std::string> rank_hosts;  // by rank
};

// Makes the folder (mode 0700) and writes its three files. StorageError where
// that is not possible. Rank 0 only.
absl::Status OpenRunFolder(const std::string& run_folder,
                           const RunConfig& config, const RunOrigin& origin);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_RUN_FOLDER_H_
