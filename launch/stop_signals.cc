#include "launch/stop_signals.h"

#include <csignal>
#include <initializer_list>

namespace lextra {
namespace {

// The only kind of variable that a handler may touch.
volatile std::sig_atomic_t stop_is_wanted = 0;

void Note(int /*signal*/) { stop_is_wanted = 1; }

void Catch(std::initializer_list<int> signals) {
  struct sigaction action = {};
  action.sa_handler = Note;
  // Once: the next one has its default action. Interrupted calls are restarted.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (const int signal : signals) sigaction(signal, &action, nullptr);
}

}  // namespace

void CatchStopSignals() { Catch({SIGUSR1, SIGTERM}); }

void CatchInterrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) Catch({signal});
  }
}

bool StopIsWanted() { return stop_is_wanted != 0; }

}  // namespace lextra
