#include "parallel/mpi/mpi_check.h"

#include <mpi.h>

#include "absl/strings/str_format.h"
#include "base/failure.h"

namespace lextra {

void CheckMpi(int error, const char* expression, const char* file, int line) {
  if (error == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(error, text, &length);
  AbortAllRanks(ExitCode::kCommunication,
                absl::StrFormat("%s:%d: %s: %s", file, line, expression, text));
}

}  // namespace lextra
