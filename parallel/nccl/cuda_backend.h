// The ranks' GPUs: which of them each rank takes, and their communicator, which
// the module lextra_cuda.so makes (ops/cuda_library.h).
#ifndef LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_
#define LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

// The world on GPUs: each rank of `world`, a communicator of CPU tensors that
// is needed only during the call, with a GPU of its own, which becomes the
// calling thread's current device; device() says which. Collective. Where one
// rank has no backend, no driver, no GPU or another NCCL, a UsageError that is
// the same on all ranks.
//
// With LEXTRA_TEST_SHARE_GPU=1 in the environment of all ranks several of them
// may share a GPU: for tests, because NCCL then talks over sockets.
absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world);

// What CUDA and NCCL say on one rank. Versions of CUDA as 13000 for 13.0, of
// NCCL as 22809 for 2.28.9.
struct GpuHost {
  int cuda_built = 0;
  int cuda_of_driver = 0;  // the newest that the driver can serve; 0: no driver
  int nccl_built = 0;
  int nccl_loaded = 0;
  std::vector<std::string> gpus;  // visible ones by index: their unique ids
  std::string error;              // why none is visible, in CUDA's words
};

// UsageError unless this rank can use its GPUs.
absl::Status CheckGpuHost(const GpuHost& host);

// For each rank the index of its GPU among `visible`, the ids of the GPUs that
// each one sees: the first that no lower rank took. So ranks that see the same
// GPUs go by their rank on the host, and ranks that the launcher gave one GPU
// each take theirs. UsageError where a rank finds none, unless it may share.
absl::StatusOr<std::vector<int>> ChooseDevices(
    const std::vector<std::vector<std::string>>& visible, bool may_share);

// Functions of the module.
using GpuHostDescriber = void(GpuHost& result);
inline constexpr char kGpuHostDescriber[] = "LextraDescribeGpuHost";
using CudaCommunicatorMaker = void(Communicator& world, int device_index,
                                   std::unique_ptr<Communicator>& result);
inline constexpr char kCudaCommunicatorMaker[] = "LextraMakeCudaCommunicator";

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_CUDA_BACKEND_H_
