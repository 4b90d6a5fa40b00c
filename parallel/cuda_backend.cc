#include "parallel/cuda_backend.h"

#include "parallel/agreement.h"
#include "parallel/cuda_module.h"

namespace lextra {

absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world, int device_index) {
  const absl::StatusOr<void*> maker = FindInCudaModule(kCudaCommunicatorMaker);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, maker.status()));
  absl::StatusOr<std::unique_ptr<Communicator>> result =
      UsageError("no communicator");
  reinterpret_cast<CudaCommunicatorMaker*> (*maker)(world, device_index,
                                                    result);
  return result;
}

}  // namespace lextra
