#include "trainer/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/number_text.h"
#include "checkpoint/load_tensors.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/resolve.h"
#include "evaluator/dataset_agreement.h"
#include "ops/cuda_kernel.h"
#include "parallel/agreement.h"
#include "trainer/memory_plan.h"
#include "trainer/optimizer/lr_schedule.h"
#include "trainer/profile/recorded_step.h"
#include "trainer/replica_check.h"
#include "trainer/sample_batch.h"

namespace lextra {
namespace {

constexpr int kMaxFailedSavesInARow = 3;
constexpr double kNoticeableZScore = 6;

}  // namespace

absl::Status Trainer::Run(int64_t last_step,
                          const std::function<bool()>& stop_wanted) {
  last_step = std::min(last_step, config_.schedule().num_steps());
  const auto due = [this](int64_t every) {
    return every > 0 && state_.step() % every == 0;
  };
  while (true) {
    const Boundary boundary = AgreeOnBoundary(stop_wanted());
    if (boundary.save_can_advance) saver_->Advance();
    LEXTRA_RETURN_IF_ERROR(ReportSaves());
    if (boundary.stop || state_.step() >= last_step) {
      LEXTRA_RETURN_IF_ERROR(SaveAtEnd());
      if (profile_) ReportProfile(*profile_, run_folder_, mesh_.world());
      if (mesh_.device().is_cuda()) ReportGpuMemory();
      if (state_.step() >= last_step) return CheckEnd();
      if (state_.step() == 0) {
        return Preempted(
            "stopped on request before step 1: nothing is saved; the same "
            "command starts from the beginning");
      }
      return Preempted(absl::StrFormat(
          "stopped on request after step %d, which is saved in %s; the same "
          "command goes on from there",
          state_.step(), run_folder_));
    }
    if (due(config_.checkpoint().every_steps()) || boundary.save_is_due) {
      LEXTRA_RETURN_IF_ERROR(StartSave());
      LEXTRA_RETURN_IF_ERROR(ReportSaves());
    }
    LEXTRA_RETURN_IF_ERROR(Step());
    if (due(config_.parallel().compare_replicas_every())) {
      LEXTRA_RETURN_IF_ERROR(CompareReplicas());
    }
    if (due(config_.evaluation().every_steps()) || state_.step() == last_step) {
      LEXTRA_RETURN_IF_ERROR(Validate());
    }
  }
}

void Trainer::ReportGpuMemory() {
  const GpuMemory peak = PeakGpuMemory();
  const MemoryPlan plan =
      PlanMemory(config_, step_.parameters(), saver_->num_bytes());
  LogInfo(
      "tensors took at most %.3f GiB of the GPU, of %.3f planned; %.3f were "
      "held for them",
      InGib(peak.tensor_bytes), InGib(plan.total()), InGib(peak.held_bytes));
}

Trainer::Boundary Trainer::AgreeOnBoundary(bool stop_wanted) {
  const double every_seconds = config_.checkpoint().every_seconds();
  const std::chrono::duration<double> since_save =
      std::chrono::steady_clock::now() - last_save_time_;
  // Clocks differ: rank 0's decides.
  const bool due = mesh_.world().rank() == 0 && every_seconds > 0 &&
                   saver_->is_idle() && since_save.count() >= every_seconds;
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

absl::Status Trainer::Step() {
  const auto start = std::chrono::steady_clock::now();
  std::optional<RecordedStep> recorded;
  if (profile_) {
    mesh_.data().TakeWaitMilliseconds();  // what was before the step
    recorded.emplace(*profile_);
  }
  const int64_t step = state_.step();
  mesh_.world().activity().SetPhase(Phase::kTraining, step + 1);
  absl::StatusOr<at::Tensor> tokens_BT1 = ReadSamples(
      *train_samples_,
      schedule_->RankBatch(step, mesh_.data().rank(), mesh_.data().size()));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), tokens_BT1.status()));

  const double learning_rate = LearningRate(config_.schedule(), step);
  const StepResult result = step_.Run(*tokens_BT1, learning_rate);
  if (profile_) profile_->AddGpuWaits(mesh_.data().TakeWaitMilliseconds());
  state_.set_step(step + 1);
  state_.set_tokens_seen(state_.tokens_seen() +
                         int64_t{config_.data().global_batch()} *
                             config_.model().training_length());
  LEXTRA_RETURN_IF_ERROR(JudgeSkips(result));
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

// Counts skipped steps, warns of them, and refuses too many in a row.
absl::Status Trainer::JudgeSkips(const StepResult& result) {
  state_.set_skipped_in_a_row(result.skipped ? state_.skipped_in_a_row() + 1
                                             : 0);
  state_.set_not_finite_in_a_row(
      result.not_finite ? state_.not_finite_in_a_row() + 1 : 0);
  if (result.skipped) state_.set_skipped_steps(state_.skipped_steps() + 1);
  if (result.skipped || result.z_score > kNoticeableZScore) {
    LogWarning(
        "step %d%s: loss %f, gradient norm %f, z-score %.1f (%d skipped "
        "so far)",
        state_.step(), result.skipped ? " skipped" : " is a spike", result.loss,
        result.gradient_norm, result.z_score, state_.skipped_steps());
  }
  const int64_t not_finite = state_.not_finite_in_a_row();
  if (not_finite <= config_.optimizer().max_skipped_in_a_row()) {
    return absl::OkStatus();
  }
  return NumericError(absl::StrFormat(
      "%d steps in a row had a non-finite loss or gradient; lower "
      "schedule.learning_rate (%g), or see step %d's data",
      not_finite, config_.schedule().learning_rate(),
      state_.step() + 1 - not_finite));
}

// What ends in steps or a validation that are no numbers is not finished.
absl::Status Trainer::CheckEnd() const {
  const int64_t skipped = state_.skipped_steps();
  const int64_t not_finite = state_.not_finite_in_a_row();
  if (not_finite > 0) {
    return NumericError(absl::StrFormat(
        "loss or gradient of the last %d step(s), up to step %d, are not "
        "finite: these steps changed nothing (%d skipped in all); lower "
        "schedule.learning_rate (%g), or see step %d's data",
        not_finite, state_.step(), skipped, config_.schedule().learning_rate(),
        state_.step() + 1 - not_finite));
  }
  if (skipped > 0 && skipped >= state_.step()) {
    return NumericError(absl::StrFormat(
        "all %d steps were skipped: nothing has been trained", skipped));
  }
  return validation_;
}

absl::Status Trainer::Validate() {
  validation_ = absl::OkStatus();
  if (!validator_) return absl::OkStatus();
  LEXTRA_ASSIGN_OR_RETURN(const ValidationLoss validation,
                          validator_->Loss(state_.step()));
  if (metrics_) metrics_->RecordValidation(state_.step(), validation);
  if (!std::isfinite(validation.loss)) {
    validation_ = NumericError(absl::StrFormat(
        "the validation loss at step %d is %f: lower schedule.learning_rate "
        "(%g), or resume from an earlier step",
        state_.step(), WithoutNanSign(validation.loss),
        config_.schedule().learning_rate()));
    return absl::OkStatus();
  }
  const auto nll_at = validator_->NllAtLengths();
  if (ExitCodeOf(nll_at.status()) == ExitCode::kNumeric) {
    validation_ = WithContext(
        nll_at.status(), absl::StrCat("validation at step ", state_.step()));
    LogWarning("%s", validation_.message());
    return absl::OkStatus();
  }
  LEXTRA_RETURN_IF_ERROR(nll_at.status());
  if (metrics_ && !nll_at->empty()) {
    metrics_->RecordExtrapolation(state_.step(), *nll_at);
  }
  return absl::OkStatus();
}

absl::Status Trainer::CompareReplicas() {
  if (config_.parallel().compare_replicas_every() == 0) return absl::OkStatus();
  return CheckReplicas(step_.parameters(), step_.optimizer(), mesh_,
                       state_.step());
}

absl::Status Trainer::StartSave() {
  if (last_saved_step_ == state_.step()) return absl::OkStatus();
  mesh_.world().activity().SetPhase(Phase::kSave, state_.step());
  // What has drifted apart is not saved.
  LEXTRA_RETURN_IF_ERROR(CompareReplicas());
  last_saved_step_ = state_.step();
  last_save_time_ = std::chrono::steady_clock::now();
  const std::vector<double> losses = step_.spikes().losses();
  const std::vector<double> norms = step_.spikes().norms();
  state_.mutable_recent_losses()->Assign(losses.begin(), losses.end());
  state_.mutable_recent_gradient_norms()->Assign(norms.begin(), norms.end());
  saver_->Start(state_, step_.State());
  return absl::OkStatus();
}

absl::Status Trainer::ReportSaves() {
  for (const SaveOutcome& save : saver_->TakeOutcomes()) {
    if (save.status.ok()) {
      failed_saves_in_a_row_ = 0;
      LogInfo(
          "step %6d/%d | checkpoint saved in %s | training stood still %.1f ms "
          "| %.1f MB a rank at %.0f MB/s",
          save.step, config_.schedule().num_steps(), run_folder_,
          save.stall_seconds * 1e3, save.num_bytes * 1e-6,
          save.num_bytes * 1e-6 / save.write_seconds);
      continue;
    }
    if (last_saved_step_ == save.step) last_saved_step_ = -1;
    ++failed_saves_in_a_row_;
    LogWarning("step %d is not saved (failure %d in a row): %s", save.step,
               failed_saves_in_a_row_, save.status.message());
    if (failed_saves_in_a_row_ >= kMaxFailedSavesInARow) {
      return StorageError(absl::StrFormat(
          "%d saves in a row failed, the last of step %d: %s; earlier "
          "checkpoints are as they were: make storage work and start the same "
          "command again",
          failed_saves_in_a_row_, save.step, save.status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status Trainer::SaveAtEnd() {
  mesh_.world().activity().SetPhase(Phase::kSave, state_.step());
  do {
    LEXTRA_RETURN_IF_ERROR(StartSave());
    saver_->Finish();
    LEXTRA_RETURN_IF_ERROR(ReportSaves());
  } while (last_saved_step_ != state_.step());
  return absl::OkStatus();
}

Trainer::Trainer(const RunConfig& config, std::string run_folder,
                 DeviceMesh& mesh)
    : config_(config),
      run_folder_(std::move(run_folder)),
      mesh_(mesh),
      model_(config_.model(), mesh.tensor()),
      step_(config_, mesh, model_) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    const RunConfig& config, const std::string& run_folder,
    const ResumeMode& resume, const SaveOrigin& origin, DeviceMesh& mesh) {
  std::unique_ptr<Trainer> trainer(new Trainer(config, run_folder, mesh));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), trainer->OpenData()));
  LEXTRA_RETURN_IF_ERROR(trainer->IdentifyData());
  mesh.world().activity().SetPhase(Phase::kLoad);
  LEXTRA_RETURN_IF_ERROR(trainer->Resume(resume));
  trainer->saver_.emplace(
      mesh.world(),
      CheckpointSaver::Options{
          .run_folder = run_folder,
          .origin = origin,
          .retention = {.keep_last = config.checkpoint().keep_last(),
                        .keep_every = config.checkpoint().keep_every()},
          .loaded_step = trainer->loaded_step_,
          .max_tensor = MaxTensorDegree(config.model())},
      trainer->step_.State());
  trainer->last_save_time_ = std::chrono::steady_clock::now();
  if (config.logging().profile()) trainer->profile_.emplace();
  absl::Status opened;
  if (mesh.world().rank() == 0) {
    absl::StatusOr<Metrics> metrics =
        Metrics::Open(config, run_folder, trainer->state_.step());
    opened = metrics.status();
    if (opened.ok()) trainer->metrics_ = *std::move(metrics);
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), opened));
  LogInfo("a rank plans with %s",
          PlanMemory(config, trainer->step_.parameters(),
                     trainer->saver_->num_bytes())
              .Text());
  return trainer;
}

absl::Status Trainer::OpenData() {
  const int64_t length = config_.model().training_length();
  const uint64_t seed = config_.data().shuffle_seed();
  LEXTRA_ASSIGN_OR_RETURN(train_data_,
                          TokenDataset::Open(config_.data().train()));
  LEXTRA_ASSIGN_OR_RETURN(train_samples_,
                          PackedSamples::Create(*train_data_, length, seed));
  schedule_.emplace(seed, train_samples_->num_samples(),
                    config_.data().global_batch());
  const DatasetMeta& meta = train_data_->meta();
  state_.mutable_tokenizer()->set_name(meta.tokenizer);
  state_.mutable_tokenizer()->set_vocab_size(meta.vocab_size);
  state_.mutable_tokenizer()->set_eos_id(meta.eos_id);
  state_.mutable_tokenizer()->set_sha256(meta.tokenizer_sha256);
  state_.mutable_data()->set_documents(train_data_->num_documents());
  state_.mutable_data()->set_tokens(train_data_->num_tokens());
  state_.set_config(RunConfigText(config_));
  LogInfo(
      "training data: %d documents, %d tokens, %d samples of %d, %d tokens "
      "left over; %.2f epochs",
      train_data_->num_documents(), train_data_->num_tokens(),
      train_samples_->num_samples(), length, train_samples_->unused_tokens(),
      static_cast<double>(config_.schedule().num_steps()) *
          config_.data().global_batch() / train_samples_->num_samples());
  if (!schedule_->BatchesAreFreeOfRepeats()) {
    LogHint(
        "%d samples are few for data.global_batch = %d: a batch that spans "
        "two epochs may hold a sample twice",
        train_samples_->num_samples(), config_.data().global_batch());
  }
  if (config_.data().validation().empty()) {
    LogHint("data.validation is not set: no validation loss");
    return absl::OkStatus();
  }
  LEXTRA_ASSIGN_OR_RETURN(validator_,
                          Validator::Create(config_, mesh_, model_, step_));
  return CheckSameTokenizer();
}

// That all ranks opened the same data, and what a checkpoint says of them.
absl::Status Trainer::IdentifyData() {
  LEXTRA_ASSIGN_OR_RETURN(
      const DatasetDigest train,
      AgreeOnDataset(mesh_.world(), "data.train", *train_data_));
  state_.mutable_data()->set_fingerprint(train.fingerprint);
  state_.mutable_data()->set_digest(train.digest);
  if (!validator_) return absl::OkStatus();
  return AgreeOnDataset(mesh_.world(), "data.validation", validator_->data())
      .status();
}

absl::Status Trainer::CheckSameTokenizer() const {
  const TokenDataset& validation = validator_->data();
  const DatasetMeta& own = validation.meta();
  const DatasetMeta& trained = train_data_->meta();
  if (own.tokenizer == trained.tokenizer &&
      own.tokenizer_sha256 == trained.tokenizer_sha256) {
    return absl::OkStatus();
  }
  return InputError(absl::StrFormat(
      "%s: made with tokenizer %s (sha256 '%s'), the training data %s with "
      "%s (sha256 '%s'): prepare both data sets with one tokenizer",
      validation.prefix(), own.tokenizer, own.tokenizer_sha256,
      train_data_->prefix(), trained.tokenizer, trained.tokenizer_sha256));
}

absl::Status Trainer::Resume(const ResumeMode& mode) {
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string folder,
      LoadNewestValid(
          mesh_.world(), run_folder_, mode,
          [this](const std::string& step_folder, const Manifest& manifest) {
            return LoadState(step_folder, manifest);
          }));
  if (folder.empty()) return absl::OkStatus();
  step_.FinishLoading(state_.step() - state_.skipped_steps());
  last_saved_step_ = state_.step();
  loaded_step_ = state_.step();
  LogInfo("resumed from %s: step %d, %.2fM tokens", folder, state_.step(),
          state_.tokens_seen() * 1e-6);
  return absl::OkStatus();
}

absl::Status Trainer::LoadState(const std::string& step_folder,
                                const Manifest& manifest) {
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseRunConfig(manifest.state().config(), step_folder));
  // What may change, because the training's results don't depend on it; and the
  // precision, because FP32 and BF16 save the same (FP64 saves another dtype,
  // which loading refuses).
  const std::vector<std::string> differences = DifferingFields(
      saved, config_,
      {"parallel.", "checkpoint.", "evaluation.", "logging.", "model.precision",
       "data.micro_batch", "data.train", "data.validation"});
  if (!differences.empty()) {
    return CheckpointError(absl::StrCat(
        step_folder, ": its configuration differs in ",
        absl::StrJoin(differences, "; "),
        ". Only parallel, checkpoint, evaluation, logging, model.precision, "
        "data.micro_batch and paths may change; choose another --run_dir for a "
        "new run"));
  }
  LEXTRA_RETURN_IF_ERROR(CheckSameData(step_folder, manifest.state()));
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

// data.train may have moved, but its content decides the batches.
absl::Status Trainer::CheckSameData(const std::string& step_folder,
                                    const TrainingState& saved) const {
  // Those of programs before the digest have the sampled fingerprint alone.
  const bool by_digest = !saved.data().digest().empty();
  const auto text = [by_digest](const TrainingState& state) {
    return absl::StrFormat(
        "%d documents, %d tokens, %s, tokenizer %s", state.data().documents(),
        state.data().tokens(),
        by_digest
            ? absl::StrCat("digest ", state.data().digest())
            : absl::StrFormat("fingerprint %08x", state.data().fingerprint()),
        state.tokenizer().name());
  };
  // Checkpoints of version 1 don't say.
  if (!saved.has_data() || text(saved) == text(state_)) return absl::OkStatus();
  return CheckpointError(absl::StrFormat(
      "%s: was trained on another data set (%s) than data.train=%s (%s): give "
      "that one, or choose another --run_dir for a new run",
      step_folder, text(saved), config_.data().train(), text(state_)));
}

}  // namespace lextra
