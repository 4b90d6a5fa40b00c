#include "base/failure.h"

#include <unistd.h>

#include "base/log.h"

namespace lextra {
namespace {

void (*abort_handler)(int) = nullptr;

}  // namespace

void SetAbortHandler(void (*abort_all_ranks)(int exit_code)) {
  abort_handler = abort_all_ranks;
}

void AbortAllRanks(ExitCode code, std::string_view message) {
  LogError(message);
  if (abort_handler != nullptr) abort_handler(static_cast<int>(code));
  _exit(static_cast<int>(code));
}

}  // namespace lextra
