// Ends a job that hangs, and names the rank that blocks it.
//
// A thread on every rank, independent of training. Each rank sends a heartbeat
// (its Activity) to rank 0 every second, or every tenth of the timeout if that
// is less; rank 0, which diagnoses (hang_diagnosis.h), sends one to every rank.
// At most one message to a rank is in flight, so a stopped rank blocks no one.
// No heartbeat for min(10 s, timeout), or no progress for longer than the
// limits allow, ends all ranks with one line that names the culprit; rank 1
// reports if rank 0 is the silent one (and rank r if all before it are, after r
// times as long).
//
// Progress is a completed collective, a new phase, or a finished piece of work
// (base/work_counter.h): however long a step, a piece of a document, a load or
// a save takes, its pieces of work are short.
//
// A process that was stopped together with its thread restarts its clocks.
//
// On GPUs the host runs ahead: a rank is in a call until its GPU has completed
// it (in_flight_calls.h). With each heartbeat a rank also checks its groups for
// errors and ends the job itself if there is one. Before a rank ends the job it
// aborts its groups.
#ifndef LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_
#define LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_

#include <memory>
#include <string>

#include "parallel/activity/activity.h"

namespace lextra {

class Watchdog {
 public:
  // Collective over all ranks of the job; MPI is initialized with
  // MPI_THREAD_MULTIPLE. `activity` is this rank's; for the times see
  // WatchLimits.
  Watchdog(std::shared_ptr<Activity> activity, const std::string& host,
           double timeout_seconds, double patience_seconds);
  Watchdog(const Watchdog&) = delete;
  // Without a preceding Stop() this rank leaves the job by an exception.
  // Nothing is sent.
  ~Watchdog();

  // Collective: returns when all ranks have called it, which is watched too.
  void Stop();

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_WATCHDOG_WATCHDOG_H_
