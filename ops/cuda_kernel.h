// Kernels of the module lextra_cuda.so (ops/cuda_library.h), called from the
// program.
#ifndef LEXTRA_OPS_CUDA_KERNEL_H_
#define LEXTRA_OPS_CUDA_KERNEL_H_

#include <ATen/core/Tensor.h>

#include "ops/cuda/element_type.h"

namespace lextra {

// A function of the module. An exception where there is none: a tensor on a GPU
// means that the module has been loaded.
void* CudaFunction(const char* name);

// A kernel of the module: a function that puts the work which `Arguments`
// (sizes and raw device pointers) describe on a stream, and returns null or
// what is wrong.
template <typename Arguments>
using CudaLauncher = const char*(const Arguments& arguments, void* stream);

// What kernels call the dtype; a TORCH_CHECK if they don't take it.
ElementType ElementTypeOf(at::ScalarType dtype);

// Runs launchers on the current stream of the device of their tensors.
void* CurrentCudaStream(const at::Device& device);

// The most that this rank has taken of its GPU at any time.
struct GpuMemory {
  int64_t tensor_bytes = 0;
  int64_t held_bytes = 0;  // by LibTorch, for tensors
};
GpuMemory PeakGpuMemory();
// What tensors may still take of it.
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
// what runs inside must only put work on streams. LibTorch's own operations are
// checked. Nothing for a CPU.
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
