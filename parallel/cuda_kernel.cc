#include "parallel/cuda_kernel.h"

#include "parallel/cuda_backend.h"

namespace lextra {

void* CudaFunction(const char* name) {
  const absl::StatusOr<void*> found = CudaBackendFunction(name);
  TORCH_CHECK(found.ok(), std::string(found.status().message()));
  return *found;
}

void* CurrentCudaStream(const at::Device& device) {
  static auto* const current =
      reinterpret_cast<void* (*)(int)>(CudaFunction("LextraCurrentCudaStream"));
  return current(device.index());
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
