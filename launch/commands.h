// The subcommands of `lextra`, one thin file each. Each takes its own arguments
// (what follows the subcommand), prints what a person wants to see and returns
// the first error; main.cc turns that into one line and an exit code.
#ifndef LEXTRA_LAUNCH_COMMANDS_H_
#define LEXTRA_LAUNCH_COMMANDS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "launch/session_setup.h"

namespace lextra {

// One process each.
absl::Status RunPrepare(const std::vector<std::string>& arguments);
absl::Status RunSynthesize(const std::vector<std::string>& arguments);
absl::Status RunCheckpoint(const std::vector<std::string>& arguments);
absl::Status RunReport(const std::vector<std::string>& arguments);

// All ranks of `session` call these alike; the status is the same on all ranks.
absl::Status RunTrain(Session& session,
                      const std::vector<std::string>& arguments);
absl::Status RunEvaluate(Session& session,
                         const std::vector<std::string>& arguments);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_COMMANDS_H_
