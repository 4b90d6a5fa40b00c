#include "ops/cuda_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lextra {
namespace {

absl::StatusOr<void*> LoadCudaLibrary() {
  std::error_code error;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string module = program.parent_path() / "lextra_cuda.so";
  if (!std::filesystem::exists(module, error)) {
    return UsageError(absl::StrCat(
        "this build has no CUDA backend (", module,
        " does not exist): build it where nvcc and NCCL are installed",
        kOrCpu));
  }
  // Never closed: communicators use its code for the life of the process.
  void* library = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) return LoadError(module, dlerror());
  return library;
}

}  // namespace

absl::StatusOr<const CudaApi*> LoadCudaApi() {
  static const CudaApi* loaded = nullptr;
  if (loaded != nullptr) return loaded;
  LEXTRA_ASSIGN_OR_RETURN(void* const library, LoadCudaLibrary());
  auto* const function =
      reinterpret_cast<CudaApiFunction*>(dlsym(library, kCudaApiFunction));
  if (function == nullptr) {
    return UsageError(absl::StrCat(
        "lextra_cuda.so does not match this program (missing symbol ",
        kCudaApiFunction, "): rebuild both"));
  }
  const CudaApi* const api = function();
  LEXTRA_RETURN_IF_ERROR(CheckCudaApi(*api));
  return loaded = api;
}

absl::Status CheckCudaApi(const CudaApi& api) {
  if (api.version == kCudaApiVersion && api.bytes == sizeof(CudaApi)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrFormat(
      "lextra_cuda.so does not match this program (interface version %d of %d "
      "bytes, expected %d of %d): rebuild both",
      api.version, api.bytes, kCudaApiVersion, sizeof(CudaApi)));
}

absl::Status LoadError(const std::string& module, const std::string& error) {
  if (absl::StrContains(error, "undefined symbol")) {
    return UsageError(absl::StrFormat(
        "%s does not match this program and LibTorch (%s): rebuild them "
        "together",
        module, error));
  }
  // "libcudnn.so.9: cannot open shared object file: No such file or directory"
  const std::string file = error.substr(0, error.find(':'));
  if (absl::StrContains(error, "cannot open shared object file")) {
    return UsageError(absl::StrFormat(
        "failed to load LibTorch's CUDA libraries: %s is missing; install "
        "LibTorch with all CUDA libraries that its wheel lists "
        "(docs/operations.md)%s",
        file, kOrCpu));
  }
  return UsageError(
      absl::StrFormat("failed to load the CUDA backend (%s)%s", error, kOrCpu));
}

}  // namespace lextra
