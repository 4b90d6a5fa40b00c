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
  // A missing kernel is an exception: tensors on a GPU mean that the module has
  // been loaded.
  explicit CudaKernel(const char* name) : name_(name) {
    const absl::StatusOr<void*> found = FindInCudaModule(name);
    TORCH_CHECK(found.ok(), std::string(found.status().message()));
    launch_ = reinterpret_cast<CudaLauncher<Arguments>*>(*found);
  }

  void operator()(const Arguments& arguments, const at::Device& device) const {
    const char* error = launch_(arguments, CurrentCudaStream(device));
    TORCH_CHECK(error == nullptr, name_, ": ", error);
  }

 private:
  const char* name_;
  CudaLauncher<Arguments>* launch_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CUDA_MODULE_H_
