#include "trainer/run_checkpoints.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "checkpoint/load_tensors.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/model_facts.h"
#include "trainer/replica_check.h"
#include "trainer/training_data.h"

namespace lextra {
namespace {

constexpr int kMaxFailedSavesInARow = 3;

}  // namespace

RunCheckpoints::RunCheckpoints(const RunConfig& config, std::string run_folder,
                               DeviceMesh& mesh, TrainStep& step,
                               TrainingState& state)
    : config_(config),
      run_folder_(std::move(run_folder)),
      mesh_(mesh),
      step_(step),
      state_(state) {}

absl::Status RunCheckpoints::Resume(const ResumeMode& mode,
                                    const SaveOrigin& origin) {
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string folder,
      LoadNewestValid(
          mesh_.world(), run_folder_, mode,
          [this](const std::string& step_folder, const Manifest& manifest) {
            return LoadState(step_folder, manifest);
          }));
  std::optional<int64_t> loaded_step;
  if (!folder.empty()) {
    step_.FinishLoading(state_.step() - state_.skipped_steps());
    last_saved_step_ = state_.step();
    loaded_step = state_.step();
    LogInfo("resumed from %s: step %d, %.2fM tokens", folder, state_.step(),
            state_.tokens_seen() * 1e-6);
  }
  saver_.emplace(
      mesh_.world(),
      CheckpointSaver::Options{
          .run_folder = run_folder_,
          .origin = origin,
          .retention = {.keep_last = config_.checkpoint().keep_last(),
                        .keep_every = config_.checkpoint().keep_every()},
          .loaded_step = loaded_step,
          .max_tensor = MaxTensorDegree(config_.model())},
      step_.State());
  last_save_time_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

absl::StatusOr<bool> RunCheckpoints::AtBoundary(bool stop_wanted) {
  const Boundary boundary = Agree(stop_wanted);
  if (boundary.save_can_advance) saver_->Advance();
  LEXTRA_RETURN_IF_ERROR(ReportSaves());
  const int64_t every_steps = config_.checkpoint().interval_steps();
  if (boundary.save_is_due ||
      (every_steps > 0 && state_.step() % every_steps == 0)) {
    LEXTRA_RETURN_IF_ERROR(StartSave());
    LEXTRA_RETURN_IF_ERROR(ReportSaves());
  }
  return boundary.stop;
}

RunCheckpoints::Boundary RunCheckpoints::Agree(bool stop_wanted) {
  const double interval_seconds = config_.checkpoint().interval_seconds();
  const std::chrono::duration<double> since_save =
      std::chrono::steady_clock::now() - last_save_time_;
  // Clocks differ: rank 0's decides.
  const bool due = mesh_.world().rank() == 0 && interval_seconds > 0 &&
                   saver_->is_idle() && since_save.count() >= interval_seconds;
  const at::Tensor all_say = at::empty({3}, at::kLong);
  int64_t* votes = all_say.mutable_data_ptr<int64_t>();
  votes[0] = !stop_wanted;
  votes[1] = !due;
  votes[2] = !saver_->is_idle() && saver_->StageIsDone();
  mesh_.world().AllReduce(all_say, ReduceOp::kMin);
  return {.stop = votes[0] == 0,
          .save_is_due = votes[1] == 0,
          .save_can_advance = votes[2] == 1};
}

absl::Status RunCheckpoints::StartSave() {
  if (last_saved_step_ == state_.step()) return absl::OkStatus();
  mesh_.world().activity().SetPhase(Phase::kSave, state_.step());
  // Diverged replicas are not saved.
  if (config_.parallel().replica_check_interval_steps() > 0) {
    LEXTRA_RETURN_IF_ERROR(CheckReplicas(step_.parameters(), step_.optimizer(),
                                         mesh_, state_.step()));
  }
  last_saved_step_ = state_.step();
  last_save_time_ = std::chrono::steady_clock::now();
  const std::vector<double> losses = step_.spikes().losses();
  const std::vector<double> norms = step_.spikes().norms();
  state_.mutable_recent_losses()->Assign(losses.begin(), losses.end());
  state_.mutable_recent_gradient_norms()->Assign(norms.begin(), norms.end());
  saver_->Start(state_, step_.State());
  return absl::OkStatus();
}

absl::Status RunCheckpoints::ReportSaves() {
  for (const SaveOutcome& save : saver_->TakeOutcomes()) {
    if (save.status.ok()) {
      failed_saves_in_a_row_ = 0;
      LogInfo(
          "step %6d/%d | checkpoint saved in %s | training paused %.1f ms "
          "| %.1f MB per rank at %.0f MB/s",
          save.step, config_.schedule().num_steps(), run_folder_,
          save.stall_seconds * 1e3, save.num_bytes * 1e-6,
          save.num_bytes * 1e-6 / save.write_seconds);
      continue;
    }
    if (last_saved_step_ == save.step) last_saved_step_ = -1;
    ++failed_saves_in_a_row_;
    LogWarning("failed to save step %d (%d consecutive failure%s): %s",
               save.step, failed_saves_in_a_row_,
               failed_saves_in_a_row_ == 1 ? "" : "s", save.status.message());
    if (failed_saves_in_a_row_ >= kMaxFailedSavesInARow) {
      return StorageError(absl::StrFormat(
          "%d consecutive saves failed, the last of step %d: %s; earlier "
          "checkpoints are intact. Fix the storage and run the same command "
          "again",
          failed_saves_in_a_row_, save.step, save.status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status RunCheckpoints::SaveAtEnd() {
  mesh_.world().activity().SetPhase(Phase::kSave, state_.step());
  do {
    LEXTRA_RETURN_IF_ERROR(StartSave());
    saver_->Finish();
    LEXTRA_RETURN_IF_ERROR(ReportSaves());
  } while (last_saved_step_ != state_.step());
  return absl::OkStatus();
}

absl::Status RunCheckpoints::LoadState(const std::string& step_folder,
                                       const Manifest& manifest) {
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseStoredRunConfig(manifest.state().config(), step_folder));
  // What may change, because the training's results don't depend on it; and the
  // precision, because FP32 and BF16 save the same dtype (FP64 saves another,
  // which loading rejects).
  const std::vector<std::string> differences = DifferingFields(
      saved, config_,
      {"parallel.", "checkpoint.", "evaluation.", "logging.", "model.precision",
       "data.micro_batch_size", "data.train", "data.validation"});
  if (!differences.empty()) {
    return CheckpointError(absl::StrCat(
        step_folder,
        ": its configuration differs: ", absl::StrJoin(differences, "; "),
        ". Only parallel, checkpoint, evaluation, logging, model.precision, "
        "data.micro_batch_size and paths may change; choose another --run_dir "
        "for a new run"));
  }
  LEXTRA_RETURN_IF_ERROR(CheckSameData(step_folder, manifest.state(), state_,
                                       config_.data().train()));
  LEXTRA_RETURN_IF_ERROR(LoadTensors(step_folder, manifest, step_.State()));
  state_.set_step(manifest.state().step());
  state_.set_tokens_seen(manifest.state().tokens_seen());
  const TrainingState& saved_state = manifest.state();
  state_.set_skipped_steps(saved_state.skipped_steps());
  state_.set_skipped_in_a_row(saved_state.skipped_in_a_row());
  state_.set_not_finite_in_a_row(saved_state.not_finite_in_a_row());
  step_.spikes().Restore(
      {saved_state.recent_losses().begin(), saved_state.recent_losses().end()},
      {saved_state.recent_gradient_norms().begin(),
       saved_state.recent_gradient_norms().end()});
  return absl::OkStatus();
}

}  // namespace lextra
