// The training loop, the file to read first: every step reads its batch from
// the schedule, runs and is recorded; some are followed by validation or a
// save.
#ifndef LEXTRA_TRAINER_TRAINER_H_
#define LEXTRA_TRAINER_TRAINER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/step_save.h"
#include "checkpoint/resume.h"
#include "config/run.pb.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"
#include "trainer/memory_plan.h"
#include "trainer/metrics.h"
#include "trainer/profile/step_profile.h"
#include "trainer/run_checkpoints.h"
#include "trainer/step_guard.h"
#include "trainer/train_step.h"
#include "trainer/training_data.h"
#include "trainer/validator.h"

namespace lextra {

class Trainer {
 public:
  // Opens the data, builds the model and loads the checkpoint if there is one.
  // `config` is resolved with vocab_size set. Collective; the status is the
  // same on all ranks.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      const RunConfig& config, const std::string& run_folder,
      const ResumeMode& resume, const SaveOrigin& origin, DeviceMesh& mesh);

  // Trains until `last_step` steps are done (schedule.num_steps at most), and
  // saves. NumericError if the last step or the last validation was not finite
  // (the saved state is). If any rank's `stop_wanted` returns true, all ranks
  // stop at the same step within one step, save, and return Preempted.
  // Collective, as above.
  absl::Status Run(int64_t last_step, const std::function<bool()>& stop_wanted);

 private:
  Trainer(const RunConfig& config, std::string run_folder, DeviceMesh& mesh);

  absl::Status OpenData();
  absl::Status TrainOneStep();
  absl::Status Finish(int64_t last_step);
  MemoryPlan Plan();

  const RunConfig config_;
  const std::string run_folder_;
  DeviceMesh& mesh_;
  TrainingState state_;  // saved in checkpoints
  std::unique_ptr<TrainingData> data_;
  Transformer model_;
  TrainStep step_;
  StepGuard guard_;
  RunCheckpoints checkpoints_;
  std::unique_ptr<Validator> validator_;  // if data.validation is set
  std::optional<Metrics> metrics_;        // rank 0
  std::optional<StepProfile> profile_;    // if logging.profile is set
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_TRAINER_H_
