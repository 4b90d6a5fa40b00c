// Counts skipped steps, warns about them, and ends the run when there are too
// many.
#ifndef LEXTRA_TRAINER_STEP_GUARD_H_
#define LEXTRA_TRAINER_STEP_GUARD_H_

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "config/run.pb.h"
#include "trainer/train_step.h"

namespace lextra {

class StepGuard {
 public:
  // Both outlive this. The counts live in `state`, which checkpoints save.
  StepGuard(const RunConfig& config, TrainingState& state)
      : config_(config), state_(state) {}

  // Counts the last step of `state`. NumericError after more than
  // optimizer.max_consecutive_skips consecutive non-finite steps. The same on
  // all ranks.
  absl::Status Judge(const StepResult& result);

  // NumericError if the run's last steps were not finite or all of its steps
  // were skipped: such a run has not finished.
  absl::Status CheckEnd() const;

 private:
  const RunConfig& config_;
  TrainingState& state_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_STEP_GUARD_H_
