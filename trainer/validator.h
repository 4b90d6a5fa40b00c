// How well the model predicts unseen text while it trains.
//
// The validation loss is a figure of the whole set: the set's documents in
// their stored order are cut into samples of the training length, and
// evaluation.validation_samples of these, spread evenly over all of them, are
// scored (every sample where there are no more). It depends on the weights and
// the set alone: which samples are scored and the order in which their losses
// are added are the same for every seed, layout and micro batch.
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
  double loss = 0;  // mean over the scored samples, nats a token
  // StandardErrorOverDocuments.
  std::optional<double> standard_error = std::nullopt;
  int64_t samples = 0;
  int64_t samples_in_set = 0;
  int64_t documents = 0;  // that have a scored target
  int64_t documents_in_set = 0;
};

// The middles of `wanted` equal parts of 0 .. count-1; all where wanted >=
// count.
std::vector<int64_t> EvenlySpread(int64_t wanted, int64_t count);

// The standard error of the mean of equally long samples' losses. Samples that
// begin in one document (`documents`, as many) resemble each other, so
// documents are the independent draws:
//   sqrt(D / (D - 1) * sum over documents of (sum of (loss - mean))^2) /
//   samples
// It says how far the loss of other text of this kind may be away, also where
// the whole set was scored. None where all samples begin in one document.
std::optional<double> StandardErrorOverDocuments(
    std::span<const double> losses, std::span<const int64_t> documents);

class Validator {
 public:
  // Opens data.validation. Refuses what would otherwise end the first
  // validation: a vocabulary beyond the model's, and evaluation.lengths beyond
  // every document where evaluation.validation_tokens asks for them. Not
  // collective. All arguments outlive this; `step` trains `model` on `mesh`.
  static absl::StatusOr<std::unique_ptr<Validator>> Create(
      const RunConfig& config, DeviceMesh& mesh, Transformer& model,
      TrainStep& step);
  Validator(const Validator&) = delete;

  const TokenDataset& data() const { return data_; }

  // The losses below after `steps_done` steps, recorded in `metrics` (null: on
  // ranks that keep none). A loss that is no number is no error here but a
  // verdict. Collective; the status is the same on all ranks.
  absl::Status Run(int64_t steps_done, Metrics* metrics);

  // NumericError where the last Run met a loss that is not finite.
  const absl::Status& verdict() const { return verdict_; }

  // After `steps_done` steps. data.micro_batch_size samples of a rank are
  // scored at once. Collective; the result is the same on all ranks.
  absl::StatusOr<ValidationLoss> Loss(int64_t steps_done);

  // The NLL of evaluation.validation_tokens tokens under BCA by length of
  // evaluation.lengths: how far the model extrapolates by now. Empty where
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
