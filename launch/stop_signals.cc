#include "launch/stop_signals.h"

#include <csignal>

namespace lextra {
namespace {

// All that a handler may touch.
volatile std::sig_atomic_t stop_is_wanted = 0;

void Note(int /*signal*/) { stop_is_wanted = 1; }

}  // namespace

void CatchStopSignals() {
  struct sigaction action = {};
  action.sa_handler = Note;
  // Once: the next one does what it does to any process. Calls that it comes
  // into go on.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool StopIsWanted() { return stop_is_wanted != 0; }

}  // namespace lextra
