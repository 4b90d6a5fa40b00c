// The module lextra_cuda.so: everything that needs CUDA. It is built if CUDA is
// present, lies next to the program and is loaded when a GPU is requested: the
// same program runs on machines with and without GPUs.
#ifndef LEXTRA_OPS_CUDA_LIBRARY_H_
#define LEXTRA_OPS_CUDA_LIBRARY_H_

#include <string>

#include "base/status.h"

namespace lextra {

// Ending of errors that leave the user without a GPU.
inline constexpr char kOrCpu[] = ", or use parallel.device=CPU";

// A function of the module, which is loaded if necessary. Not collective.
// UsageError if there is no module, it fails to load or lacks the function.
absl::StatusOr<void*> CudaLibraryFunction(const std::string& name);

// The error for dlerror's text on `module`, with what to do.
absl::Status LoadError(const std::string& module, const std::string& error);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_LIBRARY_H_
