// Calls kernels of the module lextra_cuda.so (ops/cuda_library.h).
#ifndef LEXTRA_OPS_CUDA_KERNEL_H_
#define LEXTRA_OPS_CUDA_KERNEL_H_

#include <ATen/core/Tensor.h>

#include "ops/cuda/element_type.h"
#include "ops/cuda_api.h"

namespace lextra {

// The module's table. Throws if there is none: a tensor on a GPU implies that
// the module has been loaded.
const CudaApi& LoadedCudaApi();

// The kernels' name of the dtype; a TORCH_CHECK if they don't support it.
ElementType ElementTypeOf(at::ScalarType dtype);

// The current stream of the tensors' device, for launchers.
void* CurrentCudaStream(const at::Device& device);

template <typename Arguments>
class CudaKernel {
 public:
  explicit CudaKernel(CudaLauncher<Arguments>* CudaKernels::*kernel)
      : launch_(LoadedCudaApi().kernels.*kernel) {}

  void operator()(const Arguments& arguments, const at::Device& device) const {
    const char* error = launch_(arguments, CurrentCudaStream(device));
    TORCH_CHECK(error == nullptr, Arguments::kName, ": ", error);
  }

 private:
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
