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
        " does not exist): build where nvcc and NCCL are present", kOrCpu));
  }
  // Never closed: communicators use its code for the life of the process.
  void* library = dlopen(module.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) return LoadError(module, dlerror());
  return library;
}

}  // namespace

absl::StatusOr<void*> CudaLibraryFunction(const std::string& name) {
  LEXTRA_ASSIGN_OR_RETURN(void* const library, LoadCudaLibrary());
  void* function = dlsym(library, name.c_str());
  if (function == nullptr) {
    return UsageError(absl::StrFormat(
        "lextra_cuda.so is of another build than this program: it has no %s",
        name));
  }
  return function;
}

absl::Status LoadError(const std::string& module, const std::string& error) {
  if (absl::StrContains(error, "undefined symbol")) {
    return UsageError(absl::StrFormat(
        "%s, this program and LibTorch are not of one build (%s): build them "
        "together",
        module, error));
  }
  // "libcudnn.so.9: cannot open shared object file: No such file or directory"
  const std::string file = error.substr(0, error.find(':'));
  if (absl::StrContains(error, "cannot open shared object file")) {
    return UsageError(absl::StrFormat(
        "LibTorch's part for CUDA does not load: %s is missing; install "
        "LibTorch "
        "with all CUDA libraries that its wheel names (docs/operations.md)%s",
        file, kOrCpu));
  }
  return UsageError(
      absl::StrFormat("the CUDA backend does not load (%s)%s", error, kOrCpu));
}

}  // namespace lextra
