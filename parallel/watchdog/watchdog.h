// Ends a job that hangs, and says which rank holds it up.
//
// A thread on every rank, which runs whatever the training does. Each rank
// sends a beat (its Activity) to rank 0 every second, or every tenth of the
// timeout if that is less; rank 0, which diagnoses (hang_diagnosis.h), sends
// one to every rank. At most one message is under way to a rank, so a stopped
// one blocks nobody. Silence of min(10 s, timeout), or no progress for longer
// than the limits allow, ends all ranks with one line that names the culprit;
// rank 1 speaks if it is rank 0 that is silent (and rank r, if all before it
// are, after r times as long).
//
// Progress is a collective that ends, a phase that begins, or a piece of work
// that is done (base/work_counter.h): however long a step, a piece of a
// document, a load or a save takes, its pieces are short.
//
// A process that was stopped together with its thread starts its clocks anew.
//
// On GPUs the host runs ahead: there a rank is in a call until its GPU is
// through with it (in_flight_calls.h). With each beat a rank also asks its
// groups for errors and ends the job itself when there is one. Before a rank
// ends the job it aborts its groups.
#ifndef LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_
#define LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_

#include <memory>
#include <string>

#include "parallel/activity/activity.h"

namespace lextra {

class Watchdog {
 public:
  // Collective over all ranks of the job; MPI is up with MPI_THREAD_MULTIPLE.
  // `activity` is this rank's; for the times see WatchLimits.
  Watchdog(std::shared_ptr<Activity> activity, const std::string& host,
           double timeout_seconds, double patience_seconds);
  Watchdog(const Watchdog&) = delete;
  // Without Stop() before it: this rank leaves the job by an exception. Nothing
  // is sent.
  ~Watchdog();

  // Collective: returns when all ranks have come here, which is watched too.
  void Stop();

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_
