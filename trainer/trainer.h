// The training loop, the file to read first: every step reads its batch from
// the schedule, runs, is recorded, and now and then is validated and saved.
#ifndef LEXTRA_TRAINER_TRAINER_H_
#define LEXTRA_TRAINER_TRAINER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/checkpoint_saver.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/resume.h"
#include "config/run.pb.h"
#include "data/batch_schedule.h"
#include "data/packed_samples.h"
#include "data/token_dataset.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"
#include "trainer/metrics.h"
#include "trainer/profile/step_profile.h"
#include "trainer/train_step.h"
#include "trainer/validator.h"

namespace lextra {

class Trainer {
 public:
  // Opens the data, builds the model and, where there is a checkpoint, loads
  // it. `config` is resolved with vocab_size set. Collective; the status is the
  // same on all ranks.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      const RunConfig& config, const std::string& run_folder,
      const ResumeMode& resume, const SaveOrigin& origin, DeviceMesh& mesh);

  // Trains until `last_step` steps are done (schedule.num_steps at most), and
  // saves. A NumericError where the last step or the last validation was not
  // finite, though what is saved is. Where any rank's `stop_wanted` says so,
  // all ranks stop at the same step within one step, save, and return
  // Preempted. Collective, as above.
  absl::Status Run(int64_t last_step, const std::function<bool()>& stop_wanted);

 private:
  Trainer(const RunConfig& config, std::string run_folder, DeviceMesh& mesh);

  // What the ranks decide together between two steps.
  struct Boundary {
    bool stop = false;         // somebody was asked to
    bool save_is_due = false;  // by the clock of rank 0
    bool save_can_advance = false;
  };

  absl::Status OpenData();
  absl::Status CheckSameTokenizer() const;
  absl::Status IdentifyData();
  absl::Status Resume(const ResumeMode& mode);
  absl::Status LoadState(const std::string& step_folder,
                         const Manifest& manifest);
  absl::Status CheckSameData(const std::string& step_folder,
                             const TrainingState& saved) const;
  Boundary AgreeOnBoundary(bool stop_wanted);
  absl::Status Step();
  absl::Status JudgeSkips(const StepResult& result);
  absl::Status CheckEnd() const;
  absl::Status Validate();
  absl::Status CompareReplicas();
  void ReportGpuMemory();
  absl::Status StartSave();
  absl::Status ReportSaves();
  absl::Status SaveAtEnd();

  RunConfig config_;
  std::string run_folder_;
  DeviceMesh& mesh_;
  std::optional<TokenDataset> train_data_;
  std::optional<PackedSamples> train_samples_;
  std::optional<BatchSchedule> schedule_;
  Transformer model_;
  TrainStep step_;
  std::unique_ptr<Validator> validator_;  // where data.validation is set
  std::optional<Metrics> metrics_;        // rank 0
  std::optional<StepProfile> profile_;    // where logging.profile is set
  TrainingState state_;
  std::optional<CheckpointSaver> saver_;
  // The last step whose save was started and has not failed.
  int64_t last_saved_step_ = 0;
  std::optional<int64_t> loaded_step_;  // where the run was resumed
  std::chrono::steady_clock::time_point last_save_time_;
  int failed_saves_in_a_row_ = 0;
  absl::Status validation_;  // NumericError: the last one was no number
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_TRAINER_H_
