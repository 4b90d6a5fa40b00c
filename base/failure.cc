#include "base/failure.h"

#include <signal.h>
#include <unistd.h>

#include "base/log.h"

namespace lextra {
namespace {

void (*abort_handler)(int) = nullptr;

constexpr unsigned kSecondsToAbort = 5;

}  // namespace

void SetAbortHandler(void (*abort_all_ranks)(int exit_code)) {
  abort_handler = abort_all_ranks;
}

void AbortAllRanks(ExitCode code, std::string_view message,
                   const std::function<void()>& release) {
  // The log's disk may hang, and so may a GPU or the launcher that the handler
  // calls: then the alarm ends this process, and the launcher sees a dead rank.
  signal(SIGALRM, SIG_DFL);
  alarm(kSecondsToAbort);
  LogError(message);
  if (release != nullptr) release();
  if (abort_handler != nullptr) abort_handler(static_cast<int>(code));
  _exit(static_cast<int>(code));
}

}  // namespace lextra
