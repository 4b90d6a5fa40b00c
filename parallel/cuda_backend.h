// The Communicator of GPU tensors, on NCCL. It lives in the module
// lextra_cuda.so (parallel/cuda_module.h).
#ifndef LEXTRA_PARALLEL_CUDA_BACKEND_H_
#define LEXTRA_PARALLEL_CUDA_BACKEND_H_

#include <memory>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

// All ranks of `world`, each on GPU `device_index` of its host. Collective over
// `world`, a communicator of CPU tensors, which is needed only during the call.
// UsageError on all ranks where one has no backend or no such GPU.
absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world, int device_index);

// The module's function that does it.
using CudaCommunicatorMaker =
    void(Communicator& world, int device_index,
         absl::StatusOr<std::unique_ptr<Communicator>>& result);
inline constexpr char kCudaCommunicatorMaker[] = "LextraMakeCudaCommunicator";

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CUDA_BACKEND_H_
