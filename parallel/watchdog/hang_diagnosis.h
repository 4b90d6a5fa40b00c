// Who holds up the job? A pure function of what the ranks have said.
#ifndef LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_
#define LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_

#include <optional>
#include <string>
#include <vector>

#include "parallel/activity/activity.h"

namespace lextra {

// One rank, as known where the diagnosis is made.
struct RankState {
  ActivitySnapshot activity;  // of its last beat
  std::string host;
  double silent_seconds = 0;  // since its last beat
  // Since its progress last grew, it entered or left a call, or a rank that it
  // waited for came.
  double idle_seconds = 0;
  bool finished = false;  // has said goodbye: no more beats are due
};

struct WatchLimits {
  double silence_seconds = 0;
  // Of ranks that train steadily, unless their own steps allow more.
  double idle_seconds = 0;
  // Of all others, unless idle_seconds is more: the first kernel on a GPU, or a
  // single call of a slow disk, may take that long.
  double patience_seconds = 300;
};

struct Diagnosis {
  std::vector<int> culprits;  // ranks; all of a group where none is missing
  std::string report;         // one line
};

// How long a rank may go without progress. Steady training: the larger of
// `limits` and what its steps so far allow (Activity). Anything else, and the
// first steps: at least the patience.
double IdleLimitSeconds(const ActivitySnapshot& activity,
                        const WatchLimits& limits);

// For each rank those that it waits for, where it is in a call and has been
// idle for half of its limit; nothing for the others. When this changes, its
// wait is another one: that of the last to come does not begin with that of the
// first.
std::vector<std::optional<std::vector<int>>> LongWaits(
    const std::vector<RankState>& ranks, const WatchLimits& limits);

// Nothing while no rank is beyond its limits, or while those that are wait for
// ranks that get on. Otherwise, in this order: silent ranks; ranks that hang
// outside all calls, or left, while others wait for them; a call that does not
// end although all its ranks are in it; ranks that wait for each other.
std::optional<Diagnosis> Diagnose(const std::vector<RankState>& ranks,
                                  const WatchLimits& limits);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_WATCHDOG_HANG_DIAGNOSIS_H_
