// GpuStreams of CUDA, in the module lextra_cuda.so.
#ifndef LEXTRA_PARALLEL_NCCL_CUDA_STREAMS_H_
#define LEXTRA_PARALLEL_NCCL_CUDA_STREAMS_H_

#include <memory>

#include "parallel/nccl/gpu_streams.h"

namespace lextra {

// On GPU `device_index`, with its own high-priority stream.
std::shared_ptr<GpuStreams> MakeCudaStreams(int device_index);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_CUDA_STREAMS_H_
