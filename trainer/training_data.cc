#include "trainer/training_data.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "evaluator/dataset_agreement.h"
#include "trainer/sample_batch.h"

namespace lextra {

TrainingData::TrainingData(const RunConfig& config, TokenDataset dataset)
    : config_(config), dataset_(std::move(dataset)) {}

absl::StatusOr<std::unique_ptr<TrainingData>> TrainingData::Open(
    const RunConfig& config) {
  const int64_t length = config.model().training_length();
  const uint64_t seed = config.data().shuffle_seed();
  LEXTRA_ASSIGN_OR_RETURN(TokenDataset dataset,
                          TokenDataset::Open(config.data().train()));
  std::unique_ptr<TrainingData> data(
      new TrainingData(config, std::move(dataset)));
  LEXTRA_ASSIGN_OR_RETURN(data->samples_,
                          PackedSamples::Create(data->dataset_, length, seed));
  const PackedSamples& samples = *data->samples_;
  data->schedule_.emplace(seed, samples.num_samples(),
                          config.data().global_batch_size());
  LogInfo(
      "training data: %d documents, %d tokens, %d samples of %d, %d tokens "
      "left over; %.2f epochs",
      data->dataset_.num_documents(), data->dataset_.num_tokens(),
      samples.num_samples(), length, samples.unused_tokens(),
      static_cast<double>(config.schedule().num_steps()) *
          config.data().global_batch_size() / samples.num_samples());
  if (!data->schedule_->BatchesAreFreeOfRepeats()) {
    LogHint(
        "only %d samples for data.global_batch_size = %d: a batch that spans "
        "two epochs may contain a sample twice",
        samples.num_samples(), config.data().global_batch_size());
  }
  return data;
}

absl::Status TrainingData::Identify(Communicator& world,
                                    TrainingState* state) const {
  const DatasetMeta& meta = dataset_.meta();
  state->mutable_tokenizer()->set_name(meta.tokenizer);
  state->mutable_tokenizer()->set_vocab_size(meta.vocab_size);
  state->mutable_tokenizer()->set_eos_id(meta.eos_id);
  state->mutable_tokenizer()->set_sha256(meta.tokenizer_sha256);
  state->mutable_data()->set_documents(dataset_.num_documents());
  state->mutable_data()->set_tokens(dataset_.num_tokens());
  LEXTRA_ASSIGN_OR_RETURN(const DatasetDigest digest,
                          AgreeOnDataset(world, "data.train", dataset_));
  state->mutable_data()->set_fingerprint(digest.fingerprint);
  state->mutable_data()->set_digest(digest.digest);
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> TrainingData::Batch(int64_t step, int data_rank,
                                               int num_data_ranks) const {
  return ReadSamples(*samples_,
                     schedule_->RankBatch(step, data_rank, num_data_ranks));
}

absl::Status TrainingData::CheckSameTokenizer(
    const TokenDataset& validation) const {
  const DatasetMeta& own = validation.meta();
  const DatasetMeta& trained = dataset_.meta();
  if (own.tokenizer == trained.tokenizer &&
      own.tokenizer_sha256 == trained.tokenizer_sha256) {
    return absl::OkStatus();
  }
  return InputError(absl::StrFormat(
      "%s: made with tokenizer %s (sha256 '%s'), but the training data %s "
      "with %s (sha256 '%s'); prepare both data sets with the same tokenizer",
      validation.prefix(), own.tokenizer, own.tokenizer_sha256,
      dataset_.prefix(), trained.tokenizer, trained.tokenizer_sha256));
}

absl::Status CheckSameData(const std::string& step_folder,
                           const TrainingState& saved, const TrainingState& own,
                           const std::string& data_prefix) {
  // Checkpoints from before the digest have only the sampled fingerprint.
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
  // Checkpoints of version 1 have no data identity.
  if (!saved.has_data() || text(saved) == text(own)) return absl::OkStatus();
  return CheckpointError(absl::StrFormat(
      "%s: was trained on a different data set (%s) than data.train=%s (%s); "
      "use that one, or choose another --run_dir for a new run",
      step_folder, text(saved), data_prefix, text(own)));
}

}  // namespace lextra
