// What a run trains on: data.train as batches by step, and what a checkpoint
// stores to identify it.
#ifndef LEXTRA_TRAINER_TRAINING_DATA_H_
#define LEXTRA_TRAINER_TRAINING_DATA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "config/run.pb.h"
#include "data/samples/batch_schedule.h"
#include "data/samples/packed_samples.h"
#include "data/token_dataset.h"
#include "parallel/communicator.h"

namespace lextra {

class TrainingData {
 public:
  // `config` is resolved and outlives this. Not collective.
  static absl::StatusOr<std::unique_ptr<TrainingData>> Open(
      const RunConfig& config);
  TrainingData(const TrainingData&) = delete;

  // Sets the tokenizer and the data of `state` after checking that all ranks of
  // `world` have opened the same data set. Collective; the status is the same
  // on all ranks.
  absl::Status Identify(Communicator& world, TrainingState* state) const;

  // This rank's samples of a step, int64 [B, T + 1] on the host; steps count
  // from 0.
  absl::StatusOr<at::Tensor> Batch(int64_t step, int data_rank,
                                   int num_data_ranks) const;

  // InputError if `validation` was made with another tokenizer.
  absl::Status CheckSameTokenizer(const TokenDataset& validation) const;

 private:
  TrainingData(const RunConfig& config, TokenDataset dataset);

  const RunConfig& config_;
  TokenDataset dataset_;
  std::optional<PackedSamples> samples_;
  std::optional<BatchSchedule> schedule_;
};

// data.train may have moved, but its content decides the batches:
// CheckpointError if `saved`, from a checkpoint, was trained on other data than
// `own`, which is that of `data_prefix`.
absl::Status CheckSameData(const std::string& step_folder,
                           const TrainingState& saved, const TrainingState& own,
                           const std::string& data_prefix);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_TRAINING_DATA_H_
