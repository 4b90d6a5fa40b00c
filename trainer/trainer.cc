#include "trainer/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "config/load.h"
#include "evaluator/dataset_agreement.h"
#include "parallel/agreement.h"
#include "trainer/memory_plan.h"
#include "trainer/optimizer/lr_schedule.h"
#include "trainer/profile/step_recorder.h"
#include "trainer/replica_check.h"

namespace lextra {

absl::Status Trainer::Run(int64_t last_step,
                          const std::function<bool()>& stop_wanted) {
  last_step = std::min(last_step, config_.schedule().num_steps());
  const auto due = [this](int64_t every) {
    return every > 0 && state_.step() % every == 0;
  };
  while (true) {
    LEXTRA_ASSIGN_OR_RETURN(const bool stop,
                            checkpoints_.AtBoundary(stop_wanted()));
    if (stop || state_.step() >= last_step) return Finish(last_step);
    LEXTRA_RETURN_IF_ERROR(TrainOneStep());
    if (due(config_.parallel().replica_check_interval_steps())) {
      LEXTRA_RETURN_IF_ERROR(CheckReplicas(
          step_.parameters(), step_.optimizer(), mesh_, state_.step()));
    }
    if (validator_ && (due(config_.evaluation().validation_interval_steps()) ||
                       state_.step() == last_step)) {
      LEXTRA_RETURN_IF_ERROR(
          validator_->Run(state_.step(), metrics_ ? &*metrics_ : nullptr));
    }
  }
}

absl::Status Trainer::TrainOneStep() {
  const auto start = std::chrono::steady_clock::now();
  std::optional<StepRecorder> recorded;
  if (profile_) {
    mesh_.data().TakeExposedMilliseconds();  // discards waits before the step
    recorded.emplace(*profile_);
  }
  const int64_t step = state_.step();
  mesh_.world().activity().SetPhase(Phase::kTraining, step + 1);
  const absl::StatusOr<at::Tensor> tokens_BT1 =
      data_->Batch(step, mesh_.data().rank(), mesh_.data().size());
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), tokens_BT1.status()));

  const double learning_rate = LearningRate(config_.schedule(), step);
  const StepResult result = step_.Run(*tokens_BT1, learning_rate);
  if (profile_) profile_->AddGpuWaits(mesh_.data().TakeExposedMilliseconds());
  state_.set_step(step + 1);
  state_.set_tokens_seen(state_.tokens_seen() +
                         int64_t{config_.data().global_batch_size()} *
                             config_.model().training_length());
  LEXTRA_RETURN_IF_ERROR(guard_.Judge(result));
  const std::chrono::duration<double> spent =
      std::chrono::steady_clock::now() - start;
  if (metrics_) {
    metrics_->Record(
        {.step = state_.step(),
         .tokens_seen = state_.tokens_seen(),
         .loss = result.loss,
         .gradient_norm = result.gradient_norm,
         .learning_rate = learning_rate,
         .skipped_steps = static_cast<int64_t>(state_.skipped_steps()),
         .batch_hash = result.batch_hash,
         .seconds = spent.count()});
  }
  return absl::OkStatus();
}

absl::Status Trainer::Finish(int64_t last_step) {
  LEXTRA_RETURN_IF_ERROR(checkpoints_.SaveAtEnd());
  if (profile_) ReportProfile(*profile_, run_folder_, mesh_.world());
  if (mesh_.device().is_cuda()) ReportGpuMemory(Plan());
  if (state_.step() >= last_step) {
    LEXTRA_RETURN_IF_ERROR(guard_.CheckEnd());
    return validator_ ? validator_->verdict() : absl::OkStatus();
  }
  if (state_.step() == 0) {
    return Preempted(
        "stopped on request before step 1: nothing was saved. Run the same "
        "command to start from the beginning");
  }
  return Preempted(absl::StrFormat(
      "stopped on request after step %d; checkpoint saved in %s. Run the same "
      "command to resume",
      state_.step(), run_folder_));
}

MemoryPlan Trainer::Plan() {
  return PlanMemory(config_, step_.parameters(), step_.optimizer(),
                    checkpoints_.num_bytes());
}

Trainer::Trainer(const RunConfig& config, std::string run_folder,
                 DeviceMesh& mesh)
    : config_(config),
      run_folder_(std::move(run_folder)),
      mesh_(mesh),
      model_(config_.model(), mesh.tensor()),
      step_(config_, mesh, model_),
      guard_(config_, state_),
      checkpoints_(config_, run_folder_, mesh, step_, state_) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    const RunConfig& config, const std::string& run_folder,
    const ResumeMode& resume, const SaveOrigin& origin, DeviceMesh& mesh) {
  std::unique_ptr<Trainer> trainer(new Trainer(config, run_folder, mesh));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), trainer->OpenData()));
  LEXTRA_RETURN_IF_ERROR(
      trainer->data_->Identify(mesh.world(), &trainer->state_));
  if (trainer->validator_) {
    LEXTRA_RETURN_IF_ERROR(AgreeOnDataset(mesh.world(), "data.validation",
                                          trainer->validator_->data())
                               .status());
  }
  mesh.world().activity().SetPhase(Phase::kLoad);
  LEXTRA_RETURN_IF_ERROR(trainer->checkpoints_.Resume(resume, origin));
  if (config.logging().profile()) trainer->profile_.emplace();
  absl::Status opened;
  if (mesh.world().rank() == 0) {
    absl::StatusOr<Metrics> metrics =
        Metrics::Open(config, run_folder, trainer->state_.step());
    opened = metrics.status();
    if (opened.ok()) trainer->metrics_ = *std::move(metrics);
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), opened));
  LogInfo("memory plan per rank: %s", trainer->Plan().Text());
  return trainer;
}

absl::Status Trainer::OpenData() {
  state_.set_config(RunConfigText(config_));
  LEXTRA_ASSIGN_OR_RETURN(data_, TrainingData::Open(config_));
  if (config_.data().validation().empty()) {
    LogHint("data.validation is not set: no validation loss");
    return absl::OkStatus();
  }
  LEXTRA_ASSIGN_OR_RETURN(validator_,
                          Validator::Create(config_, mesh_, model_, step_));
  return data_->CheckSameTokenizer(validator_->data());
}

}  // namespace lextra
