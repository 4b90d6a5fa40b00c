#include "ops/cuda_kernel.h"

#include "ops/cuda_library.h"

namespace lextra {

void* CudaFunction(const char* name) {
  const absl::StatusOr<void*> found = CudaLibraryFunction(name);
  TORCH_CHECK(found.ok(), std::string(found.status().message()));
  return *found;
}

ElementType ElementTypeOf(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return ElementType::kFloat;
    case at::kDouble:
      return ElementType::kDouble;
    case at::kBFloat16:
      return ElementType::kBFloat16;
    default:
      TORCH_CHECK(false, "no CUDA kernel takes dtype ", dtype);
  }
}

void* CurrentCudaStream(const at::Device& device) {
  static auto* const current =
      reinterpret_cast<void* (*)(int)>(CudaFunction("LextraCurrentCudaStream"));
  return current(device.index());
}

GpuMemory PeakGpuMemory() {
  static auto* const peak = reinterpret_cast<void (*)(GpuMemory&)>(
      CudaFunction("LextraPeakGpuMemory"));
  GpuMemory memory;
  peak(memory);
  return memory;
}

int64_t GpuBytesLeft() {
  static auto* const left =
      reinterpret_cast<int64_t (*)()>(CudaFunction("LextraGpuBytesLeft"));
  return left();
}

HostSyncsAreErrors::HostSyncsAreErrors(const at::Device& device) {
  if (!device.is_cuda()) return;
  static auto* const set = reinterpret_cast<void (*)(bool)>(
      CudaFunction("LextraSetHostSyncsAreErrors"));
  set_ = set;
  set_(true);
}

HostSyncsAreErrors::~HostSyncsAreErrors() {
  if (set_ != nullptr) set_(false);
}

}  // namespace lextra
