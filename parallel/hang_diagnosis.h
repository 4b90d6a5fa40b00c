// Who holds up the job? A pure function of what the ranks have said.
#ifndef LEXTRA_PARALLEL_HANG_DIAGNOSIS_H_
#define LEXTRA_PARALLEL_HANG_DIAGNOSIS_H_

#include <optional>
#include <string>
#include <vector>

#include "parallel/activity.h"

namespace lextra {

// One rank, as known where the diagnosis is made.
struct RankState {
  ActivitySnapshot activity;  // of its last beat
  std::string host;
  double silent_seconds = 0;  // since its last beat
  double idle_seconds = 0;    // since its progress last grew
  bool finished = false;      // has said goodbye: no more beats are due
};

struct WatchLimits {
  double silence_seconds = 0;
  // Of ranks that train steadily, unless their own steps allow more.
  double idle_seconds = 0;
};

struct Diagnosis {
  std::vector<int> culprits;  // ranks; all of a group where none is missing
  std::string report;         // one line
};

// How long a rank may go without progress. Steady training: the larger of
// `limits` and what its steps so far allow (Activity). Anything else, and the
// first steps: at least 300 s.
double IdleLimitSeconds(const ActivitySnapshot& activity,
                        const WatchLimits& limits);

// Nothing while no rank is beyond its limits, or while those that are wait for
// ranks that get on. Otherwise, in this order: silent ranks; ranks that hang
// outside all calls, or left, while others wait for them; a call that does not
// end although all its ranks are in it; ranks that wait for each other.
std::optional<Diagnosis> Diagnose(const std::vector<RankState>& ranks,
                                  const WatchLimits& limits);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_HANG_DIAGNOSIS_H_
