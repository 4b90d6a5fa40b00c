// What happens to a run whose steps are skipped: counted, warned of, and ended
// where they are too many.
#ifndef LEXTRA_TRAINER_STEP_GUARD_H_
#define LEXTRA_TRAINER_STEP_GUARD_H_

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "config/run.pb.h"
#include "trainer/train_step.h"

namespace lextra {

class StepGuard {
 public:
  // Both outlive this; the counts are those of `state`, which a checkpoint
  // keeps.
  StepGuard(const RunConfig& config, TrainingState& state)
      : config_(config), state_(state) {}

  // Counts a step, the last one of `state`. NumericError after more than
  // optimizer.max_consecutive_skips steps in a row that were not finite. The
  // same on all ranks.
  absl::Status Judge(const StepResult& result);

  // NumericError where the run ends in steps that were not finite, or all of
  // its steps were skipped: that is not finished.
  absl::Status CheckEnd() const;

 private:
  const RunConfig& config_;
  TrainingState& state_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_STEP_GUARD_H_
