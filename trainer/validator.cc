#include "trainer/validator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/number_text.h"
#include "evaluator/evaluation.h"
#include "evaluator/scoring/documents.h"
#include "evaluator/scoring/protocol.h"
#include "parallel/agreement.h"
#include "parallel/device_copy.h"
#include "trainer/metrics.h"
#include "trainer/sample_batch.h"

namespace lextra {
namespace {

// BCA at evaluation.lengths, on as many tokens as validations score.
EvaluationConfig AtLengths(EvaluationConfig evaluation) {
  evaluation.set_max_tokens(
      std::max(evaluation.validation_tokens(),
               *std::max_element(evaluation.lengths().begin(),
                                 evaluation.lengths().end())));
  evaluation.clear_masks();
  evaluation.add_masks(BCA);
  evaluation.clear_protocols();
  evaluation.add_protocols(NON_OVERLAPPING);
  evaluation.clear_rope_scaling();
  evaluation.add_rope_scaling(RopeScaling::NONE);
  evaluation.clear_resolution_lengths();
  return evaluation;
}

// Documents of ascending samples, shared ones counted once.
int64_t CountDocuments(const PackedSamples& stream,
                       const std::vector<int64_t>& samples) {
  int64_t count = 0;
  int64_t last_seen = -1;
  for (const int64_t sample : samples) {
    const PackedSamples::Documents documents = stream.DocumentsOf(sample);
    count += documents.last - std::max(documents.first, last_seen + 1) + 1;
    last_seen = documents.last;
  }
  return count;
}

}  // namespace

std::vector<int64_t> EvenlySpread(int64_t wanted, int64_t count) {
  std::vector<int64_t> chosen(std::min(wanted, count));
  const int64_t parts = std::ssize(chosen);
  for (int64_t i = 0; i < parts; ++i) {
    // The product of two large counts takes more than 64 bits.
    const auto middle =
        static_cast<unsigned __int128>(2 * i + 1) * count / (2 * parts);
    chosen[i] = static_cast<int64_t>(middle);
  }
  return chosen;
}

std::optional<double> StandardErrorOverDocuments(
    std::span<const double> losses, std::span<const int64_t> documents) {
  const auto num_samples = static_cast<double>(losses.size());
  const double mean =
      std::accumulate(losses.begin(), losses.end(), 0.0) / num_samples;
  std::map<int64_t, double> excess;
  for (size_t i = 0; i < losses.size(); ++i) {
    excess[documents[i]] += losses[i] - mean;
  }
  const auto num_documents = static_cast<double>(excess.size());
  if (excess.size() < 2) return std::nullopt;
  double squares = 0;
  for (const auto& [document, sum] : excess) squares += sum * sum;
  return std::sqrt(num_documents / (num_documents - 1) * squares) / num_samples;
}

Validator::Validator(const RunConfig& config, DeviceMesh& mesh,
                     Transformer& model, TrainStep& step, TokenDataset data)
    : config_(config),
      mesh_(mesh),
      model_(model),
      step_(step),
      data_(std::move(data)) {}

absl::StatusOr<std::unique_ptr<Validator>> Validator::Create(
    const RunConfig& config, DeviceMesh& mesh, Transformer& model,
    TrainStep& step) {
  LEXTRA_ASSIGN_OR_RETURN(TokenDataset data,
                          TokenDataset::Open(config.data().validation()));
  if (data.meta().vocab_size > config.model().vocab_size()) {
    return InputError(absl::StrFormat(
        "data.validation=%s: token ids up to %d, but model.vocab_size = %d: "
        "prepare both data sets with the same tokenizer",
        config.data().validation(), data.meta().vocab_size - 1,
        config.model().vocab_size()));
  }
  std::unique_ptr<Validator> validator(
      new Validator(config, mesh, model, step, std::move(data)));
  LEXTRA_ASSIGN_OR_RETURN(
      validator->stream_,
      PackedSamples::Create(validator->data_, config.model().training_length(),
                            /*shuffle_seed=*/std::nullopt));
  validator->samples_ = EvenlySpread(config.evaluation().validation_samples(),
                                     validator->stream_->num_samples());
  LEXTRA_RETURN_IF_ERROR(validator->CheckLengths());
  return validator;
}

absl::Status Validator::CheckLengths() const {
  if (config_.evaluation().validation_tokens() == 0) return absl::OkStatus();
  return WithContext(
      PlanRows(DatasetDocuments(data_), AtLengths(config_.evaluation()))
          .status(),
      absl::StrFormat("data.validation=%s, evaluation.validation_tokens = %d",
                      config_.data().validation(),
                      config_.evaluation().validation_tokens()));
}

absl::StatusOr<std::vector<double>> Validator::SampleNll(int64_t steps_done) {
  // Every data rank takes every num_data-th sample, and leaves the others at 0.
  const at::Tensor nll_W = at::zeros({std::ssize(samples_)}, at::kDouble);
  std::vector<int64_t> mine;
  for (int64_t i = mesh_.data().rank(); i < std::ssize(samples_);
       i += mesh_.data().size()) {
    mine.push_back(i);
  }
  const int64_t micro_batch_size = config_.data().micro_batch_size();
  absl::Status status;
  for (int64_t begin = 0; begin < std::ssize(mine); begin += micro_batch_size) {
    mesh_.world().activity().SetPhase(Phase::kValidation, steps_done);
    const std::span<const int64_t> batch = std::span(mine).subspan(
        begin, std::min(micro_batch_size, std::ssize(mine) - begin));
    std::vector<int64_t> wanted;
    for (const int64_t i : batch) wanted.push_back(samples_[i]);
    const absl::StatusOr<at::Tensor> tokens_BT1 = ReadSamples(*stream_, wanted);
    status = tokens_BT1.status();
    if (!status.ok()) break;
    const at::Tensor nll_B = step_.SampleNll(*tokens_BT1);
    for (size_t b = 0; b < batch.size(); ++b) nll_W[batch[b]] = nll_B[b];
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh_.world(), status));
  // Exact: all terms but one of each sum are 0.
  AllReduceOnHost(nll_W, ReduceOp::kSum, mesh_.data());
  const double* nll = nll_W.const_data_ptr<double>();
  return std::vector<double>(nll, nll + nll_W.numel());
}

absl::Status Validator::Run(int64_t steps_done, Metrics* metrics) {
  verdict_ = absl::OkStatus();
  LEXTRA_ASSIGN_OR_RETURN(const ValidationLoss validation, Loss(steps_done));
  if (metrics != nullptr) metrics->RecordValidation(steps_done, validation);
  if (!std::isfinite(validation.loss)) {
    verdict_ = NumericError(absl::StrFormat(
        "the validation loss at step %d is %f: lower schedule.learning_rate "
        "(%g), or resume from an earlier step",
        steps_done, WithoutNanSign(validation.loss),
        config_.schedule().learning_rate()));
    return absl::OkStatus();
  }
  const auto nll_at = NllAtLengths();
  if (ExitCodeOf(nll_at.status()) == ExitCode::kNumeric) {
    verdict_ = WithContext(nll_at.status(),
                           absl::StrCat("validation at step ", steps_done));
    LogWarning("%s", verdict_.message());
    return absl::OkStatus();
  }
  LEXTRA_RETURN_IF_ERROR(nll_at.status());
  if (metrics != nullptr && !nll_at->empty()) {
    metrics->RecordExtrapolation(steps_done, *nll_at);
  }
  return absl::OkStatus();
}

absl::StatusOr<ValidationLoss> Validator::Loss(int64_t steps_done) {
  LEXTRA_ASSIGN_OR_RETURN(std::vector<double> losses, SampleNll(steps_done));
  std::vector<int64_t> documents;
  for (size_t i = 0; i < samples_.size(); ++i) {
    losses[i] /= static_cast<double>(stream_->training_length());
    documents.push_back(stream_->DocumentsOf(samples_[i]).first);
  }
  return ValidationLoss{
      .loss = std::accumulate(losses.begin(), losses.end(), 0.0) /
              static_cast<double>(losses.size()),
      .standard_error = StandardErrorOverDocuments(losses, documents),
      .samples = std::ssize(samples_),
      .samples_in_set = stream_->num_samples(),
      .documents = CountDocuments(*stream_, samples_),
      .documents_in_set = data_.num_documents()};
}

absl::StatusOr<std::map<int64_t, double>> Validator::NllAtLengths() {
  std::map<int64_t, double> nll_at;
  if (config_.evaluation().validation_tokens() == 0) return nll_at;
  // The scorer needs replicated activations.
  const ActivationLayout layout = model_.activation_layout();
  model_.set_activation_layout(ActivationLayout::kReplicated);
  const absl::StatusOr<std::vector<ResultRow>> rows =
      Evaluate(model_, mesh_, DatasetDocuments(data_),
               AtLengths(config_.evaluation()), {.logs_rows = false});
  model_.set_activation_layout(layout);
  LEXTRA_RETURN_IF_ERROR(rows.status());
  for (const ResultRow& row : *rows) nll_at[row.length] = row.nll;
  return nll_at;
}

}  // namespace lextra
