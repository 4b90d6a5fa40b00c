// What the module lextra_cuda.so offers: one exported function, which returns
// one table of pointers. Both sides are compiled against this header, so a
// signature that differs does not link, and a module of another build is
// refused by its version and size.
#ifndef LEXTRA_OPS_CUDA_API_H_
#define LEXTRA_OPS_CUDA_API_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ops/cuda/kernels.h"

namespace lextra {

class Communicator;
struct GpuHost;

// Peak memory of this rank's GPU.
struct GpuMemory {
  int64_t tensor_bytes = 0;  // allocated by tensors
  int64_t held_bytes = 0;    // reserved for them by LibTorch's allocator
};

// Raised with every change of the table.
inline constexpr int kCudaApiVersion = 1;

struct CudaApi {
  int version = kCudaApiVersion;
  size_t bytes = sizeof(CudaApi);
  CudaKernels kernels = {};
  // LibTorch's current stream of a device, a cudaStream_t.
  void* (*current_stream)(int device_index) = nullptr;
  GpuMemory (*peak_memory)() = nullptr;
  // Bytes that tensors can still allocate.
  int64_t (*bytes_left)() = nullptr;
  // Whether LibTorch's operations that make the host wait throw.
  void (*set_host_syncs_are_errors)(bool errors) = nullptr;
  // parallel/nccl/cuda_backend.h
  void (*describe_host)(GpuHost& host) = nullptr;
  std::unique_ptr<Communicator> (*make_communicator)(
      Communicator& world, int device_index) = nullptr;
};

inline constexpr char kCudaApiFunction[] = "LextraCudaApi";
using CudaApiFunction = const CudaApi*();

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_API_H_
