#include "parallel/cuda_backend.h"

#include <dlfcn.h>

#include <filesystem>

#include "parallel/agreement.h"

namespace lextra {
namespace {

absl::StatusOr<CudaCommunicatorMaker*> LoadBackend() {
  std::error_code error;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string module = program.parent_path() / "lextra_cuda.so";
  if (!std::filesystem::exists(module, error)) {
    return UsageError(absl::StrFormat(
        "this build has no CUDA backend (%s does not exist): build where nvcc "
        "and NCCL are present, or use parallel.device=CPU",
        module));
  }
  // Never closed: communicators use its code for the life of the process.
  void* library = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return UsageError(
        absl::StrFormat("the CUDA backend does not load: %s", dlerror()));
  }
  void* maker = dlsym(library, kCudaCommunicatorMaker);
  if (maker == nullptr) {
    return UsageError(
        absl::StrFormat("%s is of another version of lextra: it has no %s",
                        module, kCudaCommunicatorMaker));
  }
  return reinterpret_cast<CudaCommunicatorMaker*>(maker);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeCudaCommunicator(
    Communicator& world, int device_index) {
  const absl::StatusOr<CudaCommunicatorMaker*> maker = LoadBackend();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, maker.status()));
  absl::StatusOr<std::unique_ptr<Communicator>> result =
      UsageError("no communicator");
  (*maker)(world, device_index, result);
  return result;
}

}  // namespace lextra
