// What the program asks of the current device; built into the module
// lextra_cuda.so (parallel/cuda_module.h).
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

extern "C" void* LextraCurrentCudaStream(int device_index) {
  return c10::cuda::getCurrentCUDAStream(
             static_cast<c10::DeviceIndex>(device_index))
      .stream();
}

extern "C" void LextraSetHostSyncsAreErrors(bool errors) {
  c10::cuda::warning_state().set_sync_debug_mode(
      errors ? c10::cuda::SyncDebugMode::L_ERROR
             : c10::cuda::SyncDebugMode::L_DISABLED);
}
