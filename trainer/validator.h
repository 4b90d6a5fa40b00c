// How well the model predicts unseen text while it trains.
//
// The validation loss represents the whole set: the set's documents in stored
// order are cut into samples of the training length, and
// evaluation.validation_samples of these, evenly spread, are scored (all
// samples if there are no more). It depends only on the weights and the set:
// which samples are scored and the order of summation are the same for every
// seed, layout and micro batch.
#ifndef LEXTRA_TRAINER_VALIDATOR_H_
#define LEXTRA_TRAINER_VALIDATOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "data/samples/packed_samples.h"
#include "data/token_dataset.h"
#include "model/transformer.h"
#include "parallel/device_mesh.h"
#include "trainer/train_step.h"

namespace lextra {

class Metrics;

struct ValidationLoss {
  double loss = 0;  // mean over the scored samples, nats per token
  // StandardErrorOverDocuments.
  std::optional<double> standard_error = std::nullopt;
  int64_t samples = 0;
  int64_t samples_in_set = 0;
  int64_t documents = 0;  // that have a scored target
  int64_t documents_in_set = 0;
};

// The middles of `wanted` equal parts of 0 .. count-1; all if wanted >= count.
std::vector<int64_t> EvenlySpread(int64_t wanted, int64_t count);

// The standard error of the mean of equally long samples' losses. Samples that
// begin in the same document (`documents`, one per sample) resemble each other,
// so documents are the independent draws:
//   sqrt(D / (D - 1) * sum over documents of (sum of (loss - mean))^2) /
//   samples
// It estimates how far the loss on other text of this kind may differ, even if
// the whole set was scored. None if all samples begin in one document.
std::optional<double> StandardErrorOverDocuments(
    std::span<const double> losses, std::span<const int64_t> documents);

class Validator {
 public:
  // Opens data.validation. Rejects what would otherwise fail the first
  // validation: a vocabulary beyond the model's, and, if
  // evaluation.validation_tokens is set, evaluation.lengths beyond every
  // document. Not collective. All arguments outlive this; `step` trains `model`
  // on `mesh`.
  static absl::StatusOr<std::unique_ptr<Validator>> Create(
      const RunConfig& config, DeviceMesh& mesh, Transformer& model,
      TrainStep& step);
  Validator(const Validator&) = delete;

  const TokenDataset& data() const { return data_; }

  // Computes the losses below after `steps_done` steps and records them in
  // `metrics` (null on ranks without). A non-finite loss is not an error here
  // but sets verdict(). Collective; the status is the same on all ranks.
  absl::Status Run(int64_t steps_done, Metrics* metrics);

  // NumericError if the last Run had a non-finite loss.
  const absl::Status& verdict() const { return verdict_; }

  // After `steps_done` steps. Each rank scores data.micro_batch_size samples at
  // a time. Collective; the result is the same on all ranks.
  absl::StatusOr<ValidationLoss> Loss(int64_t steps_done);

  // The NLL of evaluation.validation_tokens tokens under BCA by length of
  // evaluation.lengths: how far the model extrapolates so far. Empty if
  // validation_tokens is 0. Collective, as above.
  absl::StatusOr<std::map<int64_t, double>> NllAtLengths();

 private:
  Validator(const RunConfig& config, DeviceMesh& mesh, Transformer& model,
            TrainStep& step, TokenDataset data);

  absl::Status CheckLengths() const;
  // The NLL of each of samples_, summed over its targets.
  absl::StatusOr<std::vector<double>> SampleNll(int64_t steps_done);

  const RunConfig& config_;
  DeviceMesh& mesh_;
  Transformer& model_;
  TrainStep& step_;
  TokenDataset data_;
  std::optional<PackedSamples> stream_;
  std::vector<int64_t> samples_;  // of stream_, ascending
  absl::Status verdict_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_VALIDATOR_H_
