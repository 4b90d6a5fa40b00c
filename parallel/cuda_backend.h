// The Communicator of GPU tensors, on NCCL. It lives in the module
// lextra_cuda.so, which is built where CUDA is present, lies beside the program
// and is loaded when a GPU is asked for: one program serves machines with and
// without one.
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

// The one function of the module.
using CudaCommunicatorMaker =
    void(Communicator& world, int device_index,
         absl::StatusOr<std::unique_ptr<Communicator>>& result);
inline constexpr char kCudaCommunicatorMaker[] = "LextraMakeCudaCommunicator";

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CUDA_BACKEND_H_
