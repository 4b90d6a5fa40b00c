// GPU selection per rank, and the GPUs' communicator, which the module
// lextra_cuda.so creates (ops/cuda_library.h).
#ifndef LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_
#define LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

// The world on GPUs: each rank of `world` (a communicator of CPU tensors,
// needed only during the call) gets its own GPU, which becomes the calling
// thread's current device; device() returns it. Collective. UsageError, the
// same on all ranks, if any rank has no backend, no driver, no GPU or another
// NCCL.
//
// With LEXTRA_TEST_SHARE_GPU=1 in the environment of all ranks, several of them
// may share a GPU. For tests: NCCL then uses sockets.
absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world);

// What CUDA and NCCL report on one rank. CUDA versions as 13000 for 13.0, NCCL
// versions as 22809 for 2.28.9.
struct GpuHost {
  int cuda_built = 0;
  int cuda_of_driver = 0;  // the newest that the driver supports; 0: none
  int nccl_built = 0;
  int nccl_loaded = 0;
  std::vector<std::string> gpus;  // visible ones by index: their unique ids
  std::string error;              // why none is visible, in CUDA's words
};

// UsageError unless this rank can use its GPUs.
absl::Status CheckGpuHost(const GpuHost& host);

// For each rank the index of its GPU in `visible`, the ids of the GPUs that
// each rank sees: the first that no lower rank uses. So ranks that see the same
// GPUs are assigned by their rank on the host, and ranks that the launcher gave
// one GPU each get theirs. UsageError if a rank has none, unless it may share.
absl::StatusOr<std::vector<int>> ChooseDevices(
    const std::vector<std::vector<std::string>>& visible, bool may_share);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_
