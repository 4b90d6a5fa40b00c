#include "parallel/cuda_module.h"

#include <dlfcn.h>

#include <filesystem>

namespace lextra {
namespace {

absl::StatusOr<void*> LoadModule() {
  std::error_code error;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string path = program.parent_path() / "lextra_cuda.so";
  if (!std::filesystem::exists(path, error)) {
    return UsageError(absl::StrFormat(
        "this build has no CUDA backend (%s does not exist): build where nvcc "
        "and NCCL are present, or use parallel.device=CPU",
        path));
  }
  // Never closed: its code is used for the life of the process.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    return UsageError(
        absl::StrFormat("the CUDA backend does not load: %s", dlerror()));
  }
  return library;
}

}  // namespace

absl::StatusOr<void*> FindInCudaModule(const char* name) {
  LEXTRA_ASSIGN_OR_RETURN(void* library, LoadModule());
  void* address = dlsym(library, name);
  if (address == nullptr) {
    return UsageError(absl::StrFormat(
        "lextra_cuda.so is of another version of lextra: it has no %s", name));
  }
  return address;
}

void* MustFindInCudaModule(const char* name) {
  const absl::StatusOr<void*> found = FindInCudaModule(name);
  TORCH_CHECK(found.ok(), std::string(found.status().message()));
  return *found;
}

void* CurrentCudaStream(const at::Device& device) {
  static auto* const current = reinterpret_cast<void* (*)(int)>(
      MustFindInCudaModule("LextraCurrentCudaStream"));
  return current(device.index());
}

HostSyncsAreErrors::HostSyncsAreErrors(const at::Device& device) {
  if (!device.is_cuda()) return;
  static auto* const set = reinterpret_cast<void (*)(bool)>(
      MustFindInCudaModule("LextraSetHostSyncsAreErrors"));
  set_ = set;
  set_(true);
}

HostSyncsAreErrors::~HostSyncsAreErrors() {
  if (set_ != nullptr) set_(false);
}

}  // namespace lextra
