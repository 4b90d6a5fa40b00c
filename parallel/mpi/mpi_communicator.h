// The Communicator of CPU tensors, on MPI.
#ifndef LEXTRA_PARALLEL_MPI_MPI_COMMUNICATOR_H_
#define LEXTRA_PARALLEL_MPI_MPI_COMMUNICATOR_H_

#include <cstdint>
#include <limits>
#include <memory>

#include "parallel/communicator.h"

namespace lextra {

// MPI's counts are ints. They count elements in reductions, bytes in moves.
inline constexpr int64_t kMaxMpiCount = std::numeric_limits<int>::max();

// All ranks of the job; `activity` is this rank's. Calls are split into pieces
// of at most `max_count`, which tests make small. Collective; MPI is
// initialized (MpiSession).
std::unique_ptr<Communicator> MakeMpiCommunicator(
    std::shared_ptr<Activity> activity, int64_t max_count = kMaxMpiCount);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_MPI_MPI_COMMUNICATOR_H_
