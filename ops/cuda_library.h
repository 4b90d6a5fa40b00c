// The module lextra_cuda.so: everything that needs CUDA. It is built if CUDA is
// present, lies next to the program and is loaded when a GPU is requested: the
// same program runs on machines with and without GPUs.
#ifndef LEXTRA_OPS_CUDA_LIBRARY_H_
#define LEXTRA_OPS_CUDA_LIBRARY_H_

#include <string>

#include "base/status.h"
#include "ops/cuda_api.h"

namespace lextra {

// Ending of errors that leave the user without a GPU.
inline constexpr char kOrCpu[] = ", or use parallel.device=CPU";

// The module's table, which is loaded on first use and lives as long as the
// process. Not collective. UsageError if there is no module, it fails to load
// or is of another build.
absl::StatusOr<const CudaApi*> LoadCudaApi();

// UsageError unless the table is the one that this program was compiled with.
absl::Status CheckCudaApi(const CudaApi& api);

// The error for dlerror's text on `module`, with what to do.
absl::Status LoadError(const std::string& module, const std::string& error);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_LIBRARY_H_
