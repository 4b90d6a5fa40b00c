#include "trainer/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "config/difference.h"
#include "config/load.h"
#include "config/resolve.h"
#include "parallel/agreement.h"
#include "trainer/lr_schedule.h"

namespace lextra {
absl::Status Trainer::Run(int64_t last_step) {
  last_step = std::min(last_step, config_.schedule().num_steps());
  while (state_.step() < last_step) {
    LEXTRA_RETURN_IF_ERROR(Step());
    const auto due = [this](int64_t every) {
      return every > 0 && state_.step() % every == 0;
    };
    const bool last = state_.step() == last_step;
    if (due(config_.evaluation().every_steps()) || last) {
      LEXTRA_RETURN_IF_ERROR(Validate());
    }
    if (due(config_.checkpoint().every_steps()) || last) {
      LEXTRA_RETURN_IF_ERROR(Save());
    }
  }
  return absl::OkStatus();
}

absl::Status Trainer::Step() {
  const int64_t step = state_.step();
  absl::StatusOr<at::Tensor> tokens_BT1 = ReadSamples(
      *train_samples_,
      schedule_->RankBatch(step, mesh_.data().rank(), mesh_.data().size()));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), tokens_BT1.status()));

  const double learning_rate = LearningRate(config_.schedule(), step);
  const StepResult result = step_.Run(*tokens_BT1, learning_rate);
  state_.set_step(step + 1);
  state_.set_tokens_seen(state_.tokens_seen() +
                         int64_t{config_.data().global_batch()} *
                             config_.model().training_length());
  skipped_in_a_row_ = result.skipped ? skipped_in_a_row_ + 1 : 0;
  if (result.skipped) {
    state_.set_skipped_steps(state_.skipped_steps() + 1);
    LogWarning("step %d skipped: loss %f, gradient norm %f (%d so far)",
               step + 1, result.loss, result.gradient_norm,
               state_.skipped_steps());
  }
  if (skipped_in_a_row_ > config_.optimizer().max_skipped_in_a_row()) {
    return NumericError(absl::StrFormat(
        "%d steps in a row had a non-finite loss or gradient; lower "
        "schedule.learning_rate (%g), or see step %d's data",
        skipped_in_a_row_, config_.schedule().learning_rate(),
        step + 2 - skipped_in_a_row_));
  }
  absl::Status recorded;
  if (metrics_) {
    recorded = metrics_->Record(
        {.step = state_.step(),
         .tokens_seen = state_.tokens_seen(),
         .loss = result.loss,
         .gradient_norm = result.gradient_norm,
         .learning_rate = learning_rate,
         .skipped_steps = static_cast<int64_t>(state_.skipped_steps())});
  }
  return AgreeOnStatus(mesh_.world(), recorded);
}

absl::Status Trainer::Validate() {
  if (!validation_samples_) return absl::OkStatus();
  const int64_t wanted = std::min(config_.evaluation().validation_samples(),
                                  validation_samples_->num_samples());
  const int64_t micro_batch =
      std::max<int64_t>(1, config_.data().global_batch() / mesh_.data().size());
  // Every data rank takes every num_data-th sample; sums are added in fp64.
  at::Tensor sum_and_count = at::zeros({2}, at::kDouble);
  absl::Status status;
  std::vector<int64_t> mine;
  for (int64_t i = mesh_.data().rank(); i < wanted; i += mesh_.data().size()) {
    mine.push_back(i);
  }
  for (size_t begin = 0; begin < mine.size(); begin += micro_batch) {
    const size_t end = std::min(mine.size(), begin + micro_batch);
    absl::StatusOr<at::Tensor> tokens_BT1 = ReadSamples(
        *validation_samples_, {mine.begin() + begin, mine.begin() + end});
    status = tokens_BT1.status();
    if (!status.ok()) break;
    const double count = static_cast<double>(end - begin);
    sum_and_count[0] += count * step_.EvaluateLoss(*tokens_BT1);
    sum_and_count[1] += count;
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), status));
  mesh_.data().AllReduce(sum_and_count, ReduceOp::kSum);
  if (metrics_) {
    status = metrics_->RecordValidation(
        state_.step(), (sum_and_count[0] / sum_and_count[1]).item<double>());
  }
  return AgreeOnStatus(mesh_.world(), status);
}

absl::Status Trainer::Save() {
  if (last_saved_step_ == state_.step()) return absl::OkStatus();
  LEXTRA_RETURN_IF_ERROR(SaveCheckpoint(mesh_.world(), run_folder_, state_,
                                        step_.State(),
                                        config_.checkpoint().keep_last()));
  last_saved_step_ = state_.step();
  LogInfo("step %6d/%d | checkpoint saved in %s", state_.step(),
          config_.schedule().num_steps(), run_folder_);
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> Trainer::ReadSamples(
    const PackedSamples& samples, const std::vector<int64_t>& wanted) {
  const int64_t places = config_.model().training_length() + 1;
  const at::Tensor tokens =
      at::empty({static_cast<int64_t>(wanted.size()), places}, at::kLong);
  int64_t* row = tokens.mutable_data_ptr<int64_t>();
  for (const int64_t sample : wanted) {
    LEXTRA_RETURN_IF_ERROR(
        samples.Read(sample, std::span(row, static_cast<size_t>(places))));
    row += places;
  }
  return tokens;
}

Trainer::Trainer(const RunConfig& config, std::string run_folder,
                 DeviceMesh& mesh)
    : config_(config),
      run_folder_(std::move(run_folder)),
      mesh_(mesh),
      model_(config_.model(), mesh.tensor()),
      step_(config_, mesh, model_) {}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    const RunConfig& config, const std::string& run_folder, ResumeMode resume,
    DeviceMesh& mesh) {
  std::unique_ptr<Trainer> trainer(new Trainer(config, run_folder, mesh));
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), trainer->OpenData()));
  LEXTRA_RETURN_IF_ERROR(trainer->Resume(resume));
  absl::Status opened;
  if (mesh.world().rank() == 0) {
    absl::StatusOr<Metrics> metrics =
        Metrics::Open(config, run_folder, trainer->state_.step());
    opened = metrics.status();
    if (opened.ok()) trainer->metrics_ = *std::move(metrics);
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), opened));
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
  LEXTRA_ASSIGN_OR_RETURN(validation_data_,
                          TokenDataset::Open(config_.data().validation()));
  LEXTRA_ASSIGN_OR_RETURN(
      validation_samples_,
      PackedSamples::Create(*validation_data_, length, seed));
  return absl::OkStatus();
}

absl::Status Trainer::Resume(ResumeMode mode) {
  // Rank 0 looks; all load what it found.
  LEXTRA_ASSIGN_OR_RETURN(
      const std::string newest,
      LoadOnRankZero(mesh_.world(), [&]() -> absl::StatusOr<std::string> {
        LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                                ListCheckpoints(run_folder_));
        return folders.empty() ? std::string() : folders.back();
      }));
  if (newest.empty() && mode == ResumeMode::kMust) {
    return CheckpointError(absl::StrCat(
        run_folder_, ": --resume=must, but there is no checkpoint"));
  }
  if (newest.empty()) return absl::OkStatus();
  if (mode == ResumeMode::kNone) {
    return CheckpointError(absl::StrCat(
        run_folder_, ": --resume=none, but there is a checkpoint (", newest,
        "); choose another --run_dir"));
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), LoadState(newest)));
  last_saved_step_ = state_.step();
  LogInfo("resumed from %s: step %d, %.2fM tokens", newest, state_.step(),
          state_.tokens_seen() * 1e-6);
  return absl::OkStatus();
}

absl::Status Trainer::LoadState(const std::string& step_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(step_folder));
  LEXTRA_ASSIGN_OR_RETURN(
      const RunConfig saved,
      ParseRunConfig(manifest.state().config(), step_folder));
  // What may change, because the training's results don't depend on it.
  const std::vector<std::string> differences =
      DifferingFields(saved, config_,
                      {"parallel.", "checkpoint.", "evaluation.", "logging.",
                       "data.micro_batch", "data.train", "data.validation"});
  if (!differences.empty()) {
    return CheckpointError(absl::StrCat(
        step_folder, ": its configuration differs in ",
        absl::StrJoin(differences, "; "),
        ". Only parallel, checkpoint, evaluation, logging, data.micro_batch "
        "and paths may change; choose another --run_dir for a new run"));
  }
  LEXTRA_RETURN_IF_ERROR(LoadTensors(step_folder, manifest, step_.State()));
  state_.set_step(manifest.state().step());
  state_.set_tokens_seen(manifest.state().tokens_seen());
  state_.set_skipped_steps(manifest.state().skipped_steps());
  step_.optimizer().set_num_updates(state_.step() - state_.skipped_steps());
  return absl::OkStatus();
}

}  // namespace lextra
