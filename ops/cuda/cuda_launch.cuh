// How .cu files launch their kernels. They include the CUDA runtime but nothing
// of LibTorch, so that tests can also compile them for the CPU
// (tests/testing/cuda_on_host).
#ifndef LEXTRA_OPS_CUDA_CUDA_LAUNCH_CUH_
#define LEXTRA_OPS_CUDA_CUDA_LAUNCH_CUH_

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "ops/cuda/bfloat16.cuh"
#include "ops/cuda/element_type.h"

namespace lextra {

constexpr int kThreadsPerBlock = 256;

// Launches kernel(arguments...) on the stream; returns null or an error text.
template <typename... Parameters, typename... Arguments>
const char* LaunchKernel(void (*kernel)(Parameters...), int64_t blocks,
                         int threads, void* stream, Arguments&&... arguments) {
  if (blocks == 0) return nullptr;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(
      &config, kernel, Parameters(std::forward<Arguments>(arguments))...);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// visit(Element()) with the type that `type` names.
template <typename Visit>
const char* DispatchElement(ElementType type, Visit visit) {
  switch (type) {
    case ElementType::kFloat:
      return visit(float());
    case ElementType::kDouble:
      return visit(double());
    case ElementType::kBFloat16:
      return visit(BFloat16());
  }
  return "unknown element type";
}

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_CUDA_LAUNCH_CUH_
