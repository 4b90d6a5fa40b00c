#include "ops/cuda_kernel.h"

#include "ops/cuda_library.h"

namespace lextra {

const CudaApi& LoadedCudaApi() {
  const absl::StatusOr<const CudaApi*> api = LoadCudaApi();
  TORCH_CHECK(api.ok(), std::string(api.status().message()));
  return **api;
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
  return LoadedCudaApi().current_stream(device.index());
}

HostSyncsAreErrors::HostSyncsAreErrors(const at::Device& device) {
  if (!device.is_cuda()) return;
  set_ = LoadedCudaApi().set_host_syncs_are_errors;
  set_(true);
}

HostSyncsAreErrors::~HostSyncsAreErrors() {
  if (set_ != nullptr) set_(false);
}

}  // namespace lextra
