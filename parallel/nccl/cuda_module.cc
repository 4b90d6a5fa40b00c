// What the module lextra_cuda.so does for cuda_backend.cc and cuda_kernel.cc.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "ops/cuda_api.h"
#include "parallel/nccl/cuda_backend.h"
#include "parallel/nccl/cuda_streams.h"
#include "parallel/nccl/nccl_communicator.h"
#include "parallel/nccl/nccl_linked.h"

namespace lextra {
namespace {

constexpr auto kAll =
    static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

// Asks CUDA, not c10, which returns 0 on any error.
GpuHost Describe() {
  GpuHost host;
  host.cuda_built = CUDART_VERSION;
  host.nccl_built = NcclVersionBuilt();
  host.nccl_loaded = NcclVersionLoaded();
  static_cast<void>(cudaDriverGetVersion(&host.cuda_of_driver));
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  for (int device = 0; error == cudaSuccess && device < count; ++device) {
    cudaDeviceProp properties;
    error = cudaGetDeviceProperties(&properties, device);
    host.gpus.push_back(absl::BytesToHexString(
        absl::string_view(properties.uuid.bytes, sizeof(properties.uuid))));
  }
  if (error != cudaSuccess) {
    host.gpus.clear();
    host.error = cudaGetErrorString(error);
    static_cast<void>(cudaGetLastError());
  }
  return host;
}

std::unique_ptr<Communicator> Make(Communicator& world, int device_index) {
  const at::Device device(at::kCUDA,
                          static_cast<c10::DeviceIndex>(device_index));
  c10::cuda::set_device(device.index());
  std::unique_ptr<Communicator> host =
      world.Split(0, world.rank(), "world (host)");
  return MakeNcclCommunicator(
      std::move(host),
      {.device = device,
       .nccl = LinkedNccl(device_index),
       .make_streams =
           [device_index] { return MakeCudaStreams(device_index); }},
      "world", world.NextChild(0));
}

void* CurrentStream(int device_index) {
  return c10::cuda::getCurrentCUDAStream(
             static_cast<c10::DeviceIndex>(device_index))
      .stream();
}

GpuMemory PeakMemory() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(
      c10::cuda::current_device());
  return {.tensor_bytes = stats.allocated_bytes[kAll].peak,
          .held_bytes = stats.reserved_bytes[kAll].peak};
}

int64_t BytesLeft() {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(
      c10::cuda::current_device());
  size_t free = 0;
  size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  return static_cast<int64_t>(free) + stats.reserved_bytes[kAll].current -
         stats.allocated_bytes[kAll].current;
}

void SetHostSyncsAreErrors(bool errors) {
  c10::cuda::warning_state().set_sync_debug_mode(
      errors ? c10::cuda::SyncDebugMode::L_ERROR
             : c10::cuda::SyncDebugMode::L_DISABLED);
}

}  // namespace
}  // namespace lextra

extern "C" const lextra::CudaApi* LextraCudaApi() {
  using namespace lextra;
  static const CudaApi api = {
      .kernels = LinkedCudaKernels(),
      .current_stream = CurrentStream,
      .peak_memory = PeakMemory,
      .bytes_left = BytesLeft,
      .set_host_syncs_are_errors = SetHostSyncsAreErrors,
      .describe_host = [](GpuHost& host) { host = Describe(); },
      .make_communicator = Make};
  return &api;
}
