// Calls kernels of the module lextra_cuda.so (ops/cuda_library.h).
#ifndef LEXTRA_OPS_CUDA_KERNEL_H_
#define LEXTRA_OPS_CUDA_KERNEL_H_

#include <ATen/core/Tensor.h>

#include "ops/cuda/element_type.h"

namespace lextra {

// A function of the module. Throws if there is none: a tensor on a GPU implies
// that the module has been loaded.
void* CudaFunction(const char* name);

// A kernel of the module: a function that enqueues the work described by
// `Arguments` (sizes and raw device pointers) on a stream, and returns null or
// an error text.
template <typename Arguments>
using CudaLauncher = const char*(const Arguments& arguments, void* stream);

// The kernels' name of the dtype; a TORCH_CHECK if they don't support it.
ElementType ElementTypeOf(at::ScalarType dtype);

// The current stream of the tensors' device, for launchers.
void* CurrentCudaStream(const at::Device& device);

// This rank's peak GPU memory.
struct GpuMemory {
  int64_t tensor_bytes = 0;
  int64_t held_bytes = 0;  // reserved by LibTorch's allocator
};
GpuMemory PeakGpuMemory();
// GPU bytes still available for tensors.
int64_t GpuBytesLeft();

template <typename Arguments>
class CudaKernel {
 public:
  explicit CudaKernel(const char* name)
      : name_(name),
        launch_(
            reinterpret_cast<CudaLauncher<Arguments>*>(CudaFunction(name))) {}

  void operator()(const Arguments& arguments, const at::Device& device) const {
    const char* error = launch_(arguments, CurrentCudaStream(device));
    TORCH_CHECK(error == nullptr, name_, ": ", error);
  }

 private:
  const char* name_;
  CudaLauncher<Arguments>* launch_;
};

// While it lives, an operation that makes the host wait for the GPU throws:
// code inside may only enqueue work on streams. LibTorch's own operations are
// checked. No effect on a CPU.
class HostSyncsAreErrors {
 public:
  explicit HostSyncsAreErrors(const at::Device& device);
  HostSyncsAreErrors(const HostSyncsAreErrors&) = delete;
  ~HostSyncsAreErrors();

 private:
  void (*set_)(bool errors) = nullptr;
};

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_KERNEL_H_
