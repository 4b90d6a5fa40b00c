// Where a test's kernels run: on a GPU, or on the CPU through
// tests/testing/cuda_on_host.
#ifndef LEXTRA_TESTS_OPS_CUDA_KERNEL_DEVICE_H_
#define LEXTRA_TESTS_OPS_CUDA_KERNEL_DEVICE_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "ops/cuda_kernel.h"

namespace lextra::testing {

// Empty, or why kernels can't run here.
std::string WhyNoKernels();
at::Device KernelDevice();
CudaKernels Kernels();
void* KernelStream();

// A test is skipped, with the reason, where its kernels can't run.
class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = WhyNoKernels();
    if (!reason.empty()) GTEST_SKIP() << reason;
  }
};

template <typename Arguments>
void Launch(CudaLauncher<Arguments>* CudaKernels::*kernel,
            const Arguments& arguments) {
  const char* error = (Kernels().*kernel)(arguments, KernelStream());
  ASSERT_EQ(error, nullptr) << Arguments::kName << ": " << error;
}

using lextra::ElementTypeOf;

// The same numbers, one element behind a multiple of 16 bytes.
inline at::Tensor OffAlignment(const at::Tensor& x) {
  return at::cat({x.new_zeros({1}), x.flatten()})
      .narrow(0, 1, x.numel())
      .view(x.sizes());
}

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_OPS_CUDA_KERNEL_DEVICE_H_
