// Checks that all ranks of a job were started alike, before they do anything
// together: hosts may have different builds, and launchers can give each rank
// its own arguments.
#ifndef LEXTRA_LAUNCH_SAME_START_H_
#define LEXTRA_LAUNCH_SAME_START_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/mpi/mpi_session.h"

namespace lextra {

// UsageError, on all ranks, if they run different programs, or the same program
// with different arguments (`command`: lextra's own, without the program name)
// or different variables that choose how to compute. Ranks also agree on their
// instruction sets here (launch/instruction_set.h). Before the first tensor;
// collective.
absl::Status CheckSameStart(MpiSession& mpi,
                            const std::vector<std::string>& command);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_SAME_START_H_
