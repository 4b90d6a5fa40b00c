// Which rank blocks the job: a pure function of the ranks' last heartbeats.
#ifndef LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_
#define LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_

#include <optional>
#include <string>
#include <vector>

#include "parallel/activity/activity.h"

namespace lextra {

// One rank, as known to the diagnosing rank.
struct RankState {
  ActivitySnapshot activity;  // of its last heartbeat
  std::string host;
  double silent_seconds = 0;  // since its last heartbeat
  // Since it last made progress, entered or left a call, or a rank that it
  // waited for arrived.
  double idle_seconds = 0;
  bool finished = false;  // has signed off: no more heartbeats are due
};

struct WatchLimits {
  double silence_seconds = 0;
  // For ranks in steady training, unless their own steps allow more.
  double idle_seconds = 0;
  // For all others, unless idle_seconds is more: the first kernel on a GPU, or
  // a single call to a slow disk, may take that long.
  double patience_seconds = 300;
};

struct Diagnosis {
  std::vector<int> culprits;  // ranks; the whole group if none is missing
  std::string report;         // one line
};

// How long a rank may go without progress. In steady training: the larger of
// `limits` and what its steps so far allow (Activity). Otherwise, and in the
// first steps: at least patience_seconds.
double IdleLimitSeconds(const ActivitySnapshot& activity,
                        const WatchLimits& limits);

// For each rank that is in a call and has been idle for half of its limit: the
// ranks that it waits for; nullopt for the others. When this changes, a new
// wait begins: the wait for the last rank to arrive does not begin with the
// wait for the first.
std::vector<std::optional<std::vector<int>>> LongWaits(
    const std::vector<RankState>& ranks, const WatchLimits& limits);

// nullopt while no rank is beyond its limits, or while those that are wait for
// ranks that make progress. Otherwise, in this order: ranks without heartbeat;
// ranks that hang outside all calls, or have left, while others wait for them;
// a call that does not complete although all its ranks entered it; ranks that
// wait for each other.
std::optional<Diagnosis> Diagnose(const std::vector<RankState>& ranks,
                                  const WatchLimits& limits);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_
