#include <ATen/Context.h>

#include "ops/cuda_library.h"
#include "tests/ops/cuda/kernel_device.h"

namespace lextra::testing {

std::string WhyNoKernels() {
  // Before the first question: the module brings LibTorch's CUDA part.
  const absl::StatusOr<const CudaApi*> module = LoadCudaApi();
  if (!module.ok()) return std::string(module.status().message());
  return at::hasCUDA() ? "" : "no usable GPU";
}

at::Device KernelDevice() { return {at::kCUDA, 0}; }

CudaKernels Kernels() { return LoadedCudaApi().kernels; }

void* KernelStream() { return CurrentCudaStream(KernelDevice()); }

}  // namespace lextra::testing
