// The subcommands of `lextra`, one thin file each. Each takes its arguments
// (those after the subcommand), prints its results and returns the first error;
// main.cc turns that into one line and an exit code.
#ifndef LEXTRA_LAUNCH_COMMANDS_H_
#define LEXTRA_LAUNCH_COMMANDS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "launch/session_setup.h"

namespace lextra {

// These run as one process.
absl::Status RunPrepare(const std::vector<std::string>& arguments);
absl::Status RunSynthesize(const std::vector<std::string>& arguments);
absl::Status RunCheckpoint(const std::vector<std::string>& arguments);
absl::Status RunReport(const std::vector<std::string>& arguments);

// Called by all ranks of `session`; the status is the same on all ranks.
absl::Status RunTrain(Session& session,
                      const std::vector<std::string>& arguments);
absl::Status RunEvaluate(Session& session,
                         const std::vector<std::string>& arguments);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_COMMANDS_H_
