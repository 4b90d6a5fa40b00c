#include "tests/ops/cuda/kernel_device.h"

namespace lextra::testing {

std::string WhyNoKernels() { return ""; }

at::Device KernelDevice() { return at::kCPU; }

CudaKernels Kernels() { return LinkedCudaKernels(); }

void* KernelStream() { return nullptr; }

}  // namespace lextra::testing
