// Built into the module lextra_cuda.so (parallel/cuda_module.h).
#include <c10/cuda/CUDAStream.h>

extern "C" void* LextraCurrentCudaStream(int device_index) {
  return c10::cuda::getCurrentCUDAStream(
             static_cast<c10::DeviceIndex>(device_index))
      .stream();
}
