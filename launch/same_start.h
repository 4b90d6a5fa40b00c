// That all ranks of a job are started alike, found before they do anything
// together: hosts may hold other builds, and launchers can give each rank its
// own arguments.
#ifndef LEXTRA_LAUNCH_SAME_START_H_
#define LEXTRA_LAUNCH_SAME_START_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/mpi/mpi_session.h"

namespace lextra {

// UsageError, on all ranks, where they run different programs, or the same with
// different arguments (`command`: lextra's own, its name first) or different
// variables that choose how to compute. They agree on their instruction sets
// here (launch/instruction_set.h). Before the first tensor; collective.
absl::Status CheckSameStart(MpiSession& mpi,
                            const std::vector<std::string>& command);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_SAME_START_H_
