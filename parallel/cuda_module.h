// The module lextra_cuda.so: what needs CUDA, built where CUDA is present. It
// lies beside the program and is loaded when a GPU is first asked for, so one
// program serves machines with and without one.
#ifndef LEXTRA_PARALLEL_CUDA_MODULE_H_
#define LEXTRA_PARALLEL_CUDA_MODULE_H_

#include <ATen/core/Tensor.h>

#include "base/status.h"

namespace lextra {

// The address of the module's function `name` (extern "C"). UsageError where
// there is no module, it does not load, or it is of another version.
absl::StatusOr<void*> FindInCudaModule(const char* name);
// The same with an exception: a tensor on a GPU means that the module has been
// loaded.
void* MustFindInCudaModule(const char* name);

// A kernel of the module: a function that puts the work which `Arguments`
// (sizes and raw device pointers) describe on a stream, and returns null or
// what is wrong.
template <typename Arguments>
using CudaLauncher = const char*(const Arguments& arguments, void* stream);

// Runs launchers on the current stream of the device of their tensors.
void* CurrentCudaStream(const at::Device& device);

template <typename Arguments>
class CudaKernel {
 public:
  explicit CudaKernel(const char* name)
      : name_(name),
        launch_(reinterpret_cast<CudaLauncher<Arguments>*>(
            MustFindInCudaModule(name))) {}

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

#endif  // LEXTRA_PARALLEL_CUDA_MODULE_H_
