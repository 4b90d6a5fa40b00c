// The checkpoints of a run: where it resumes, when it saves, and what happens
// when a save fails.
#ifndef LEXTRA_TRAINER_RUN_CHECKPOINTS_H_
#define LEXTRA_TRAINER_RUN_CHECKPOINTS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/checkpoint_saver.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/resume.h"
#include "config/run.pb.h"
#include "parallel/device_mesh.h"
#include "trainer/train_step.h"

namespace lextra {

class RunCheckpoints {
 public:
  // All arguments outlive this. `state` is what a checkpoint holds in addition
  // to the tensors of `step`: it identifies the data and the configuration.
  RunCheckpoints(const RunConfig& config, std::string run_folder,
                 DeviceMesh& mesh, TrainStep& step, TrainingState& state);

  // Loads the checkpoint that `mode` asks for into step and state, if there is
  // one, and allocates memory for saves. Everything below is collective, with
  // the same status on all ranks.
  absl::Status Resume(const ResumeMode& mode, const SaveOrigin& origin);

  // Between two steps: advances the save in progress, starts one that is due by
  // step or by rank 0's clock, and returns whether any rank's `stop_wanted` is
  // set. StorageError after too many failed saves.
  absl::StatusOr<bool> AtBoundary(bool stop_wanted);

  // Saves the last step, retrying after failures. StorageError after too many.
  absl::Status SaveAtEnd();

  // Bytes of this rank's share of a checkpoint, held by the copy.
  int64_t num_bytes() const { return saver_->num_bytes(); }

 private:
  // What the ranks decide together between two steps.
  struct Boundary {
    bool stop = false;         // a rank was asked to stop
    bool save_is_due = false;  // by the clock of rank 0
    bool save_can_advance = false;
  };

  absl::Status LoadState(const std::string& step_folder,
                         const Manifest& manifest);
  Boundary Agree(bool stop_wanted);
  absl::Status StartSave();
  absl::Status ReportSaves();

  const RunConfig& config_;
  const std::string run_folder_;
  DeviceMesh& mesh_;
  TrainStep& step_;
  TrainingState& state_;
  std::optional<CheckpointSaver> saver_;  // after Resume
  // The last step whose save was started and has not failed.
  int64_t last_saved_step_ = 0;
  std::chrono::steady_clock::time_point last_save_time_;
  int failed_saves_in_a_row_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_RUN_CHECKPOINTS_H_
