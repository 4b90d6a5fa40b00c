// Common setup of the commands that run under mpirun.
#ifndef LEXTRA_LAUNCH_SESSION_SETUP_H_
#define LEXTRA_LAUNCH_SESSION_SETUP_H_

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "config/run.pb.h"
#include "parallel/device_mesh.h"
#include "parallel/mpi/mpi_session.h"
#include "parallel/watchdog/watchdog.h"

namespace lextra {

// A job's ranks, and the watchdog once it has been started.
struct Session {
  std::unique_ptr<MpiSession> mpi;
  std::unique_ptr<Watchdog> watchdog;
};

// From now on, until the session ends, a rank that stops or hangs ends the job
// (parallel/watchdog/watchdog.h). Collective. Does nothing for a timeout of 0
// or a world size of 1. The environment variable LEXTRA_PATIENCE_SECONDS
// replaces WatchLimits::patience_seconds.
void StartWatchdog(Session& session, double timeout_seconds);

// Collective; afterwards no MPI communicator may be used.
void EndSession(Session& session);

// UsageError if the world size is not `expected` (0: any).
absl::Status CheckWorldSize(const MpiSession& mpi, int64_t expected);

// Sets LibTorch's threads: parallel.num_threads, or this rank's share of the
// cores that it may run on. Logs a hint if binding leaves cores idle.
absl::Status SetUpThreads(const MpiSession& mpi, const ParallelConfig& config);

// The mesh of parallel.data x context x tensor. Collective.
absl::StatusOr<std::unique_ptr<DeviceMesh>> MakeMesh(
    MpiSession& mpi, const ParallelConfig& config);

// Rank 0's configuration (text format) on all ranks, parsed.
absl::StatusOr<RunConfig> ShareConfig(Communicator& world,
                                      const absl::StatusOr<RunConfig>& mine);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_SESSION_SETUP_H_
