#include "launch/session_setup.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/strings/numbers.h"
#include "base/log.h"
#include "config/load.h"
#include "parallel/agreement.h"
#include "parallel/nccl/cuda_backend.h"
#include "parallel/watchdog/hang_diagnosis.h"

namespace lextra {
namespace {

// Cores this process may run on.
int AllowedCores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  return std::max(1, CPU_COUNT(&cores));
}

// Bitwise reproducible runs. cuBLAS reads its variable when it starts.
void SetUpDeterminism() {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
}

double PatienceSeconds() {
  const char* text = std::getenv("LEXTRA_PATIENCE_SECONDS");
  double seconds = 0;
  if (text != nullptr && absl::SimpleAtod(text, &seconds) && seconds > 0) {
    return seconds;
  }
  return WatchLimits().patience_seconds;
}

}  // namespace

void StartWatchdog(Session& session, double timeout_seconds) {
  if (timeout_seconds == 0 || session.mpi->size() == 1) return;
  session.watchdog = std::make_unique<Watchdog>(
      session.mpi->shared_activity(), session.mpi->host(), timeout_seconds,
      PatienceSeconds());
}

void EndSession(Session& session) {
  session.mpi->activity().SetPhase(Phase::kShutdown);
  if (session.watchdog != nullptr) session.watchdog->Stop();
  session.mpi->Finalize();
}

absl::Status CheckWorldSize(const MpiSession& mpi, int64_t expected) {
  if (expected == 0 || expected == mpi.size()) return absl::OkStatus();
  return UsageError(absl::StrFormat(
      "--expect_world_size=%d, but the launcher started %d rank(s); use the "
      "mpirun of the Open MPI that lextra was built with",
      expected, mpi.size()));
}

absl::Status SetUpThreads(const MpiSession& mpi, const ParallelConfig& config) {
  const int allowed = AllowedCores();
  const int host = static_cast<int>(std::thread::hardware_concurrency());
  // Ranks that are bound to cores use all of theirs; otherwise they share.
  const bool bound = allowed < host;
  const int share = bound ? allowed : std::max(1, host / mpi.local_size());
  const int threads = config.num_threads() > 0 ? config.num_threads() : share;
  if (threads > allowed) {
    LogHint(
        "parallel.num_threads = %d, but each rank is bound to %d core(s): "
        "threads will compete for cores; start mpirun with --bind-to none",
        threads, allowed);
  } else if (bound && allowed * mpi.local_size() < host) {
    LogHint(
        "%d rank(s) bound to %d core(s) each leave some of this host's %d "
        "cores idle; start mpirun with --bind-to none, or start more ranks",
        mpi.local_size(), allowed, host);
  }
  at::set_num_threads(threads);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DeviceMesh>> MakeMesh(
    MpiSession& mpi, const ParallelConfig& config) {
  std::unique_ptr<Communicator> world = mpi.World();
  std::unique_ptr<Communicator> gpus;
  if (config.device() == CUDA) {
    if (config.deterministic()) SetUpDeterminism();
    LEXTRA_ASSIGN_OR_RETURN(gpus, MakeCudaCommunicator(*world));
  }
  return DeviceMesh::Create(std::move(world),
                            {.data = config.data(),
                             .context = config.context(),
                             .tensor = config.tensor()},
                            std::move(gpus));
}

absl::StatusOr<RunConfig> ShareConfig(Communicator& world,
                                      const absl::StatusOr<RunConfig>& mine) {
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string text,
      LoadOnRankZero(world, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_RETURN_IF_ERROR(mine.status());
        return RunConfigText(*mine);
      }));
  return ParseRunConfig(text, "configuration of rank 0");
}

}  // namespace lextra
