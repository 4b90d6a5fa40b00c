#include "launch/version.h"

#include <ATen/Version.h>
#include <absl/base/config.h>
#include <google/protobuf/stubs/common.h>
#include <mpi.h>
#include <torch/headeronly/version.h>

#include "absl/strings/str_format.h"

namespace lextra {

std::string ProgramName() {
  return absl::StrFormat("lextra %s (commit %s)", LEXTRA_VERSION,
                         LEXTRA_COMMIT);
}

std::string VersionLine() {
  const int protobuf = GOOGLE_PROTOBUF_VERSION;
  return absl::StrFormat(
      "%s, LibTorch %s, Open MPI %d.%d.%d, Protobuf "
      "%d.%d.%d, Abseil %d, GCC %s, CUDA backend: %s",
      ProgramName(), TORCH_VERSION, OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION,
      OMPI_RELEASE_VERSION, protobuf / 1000000, protobuf / 1000 % 1000,
      protobuf % 1000, ABSL_LTS_RELEASE_VERSION, __VERSION__,
      LEXTRA_CUDA_BACKEND);
}

}  // namespace lextra
