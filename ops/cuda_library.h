// The module lextra_cuda.so: all that needs CUDA. It is built where CUDA is
// present, lies beside the program and is loaded when a GPU is asked for: one
// program serves machines with and without one.
#ifndef LEXTRA_OPS_CUDA_LIBRARY_H_
#define LEXTRA_OPS_CUDA_LIBRARY_H_

#include <string>

#include "base/status.h"

namespace lextra {

// How an error that leaves the user without a GPU ends.
inline constexpr char kOrCpu[] = ", or use parallel.device=CPU";

// A function of the module, which is loaded if it is not yet. Local.
// UsageError where there is no module, it does not load or lacks the function.
absl::StatusOr<void*> CudaLibraryFunction(const std::string& name);

// What dlerror says of `module`, in words that help.
absl::Status LoadError(const std::string& module, const std::string& error);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_LIBRARY_H_
