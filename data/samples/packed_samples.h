// Samples of the training length T, cut from the concatenated documents, each
// with its closing eos, in an order shuffled by the seed alone or as stored.
// Sample i is tokens [i * T, i * T + T] of that stream: T inputs and, shifted
// by one, T targets.
#ifndef LEXTRA_DATA_SAMPLES_PACKED_SAMPLES_H_
#define LEXTRA_DATA_SAMPLES_PACKED_SAMPLES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "data/token_dataset.h"

namespace lextra {

class PackedSamples {
 public:
  // `dataset` outlives this. Without `shuffle_seed` documents stay in stored
  // order. InputError if there is not even one whole sample.
  static absl::StatusOr<PackedSamples> Create(
      const TokenDataset& dataset, int64_t training_length,
      std::optional<uint64_t> shuffle_seed);

  int64_t training_length() const { return training_length_; }
  int64_t num_samples() const { return num_samples_; }
  // Tokens at the stream's end that don't fill a sample.
  int64_t unused_tokens() const { return unused_tokens_; }
  // Fills out with the training_length + 1 tokens of a sample.
  absl::Status Read(int64_t sample, std::span<int64_t> out) const;

  // Documents [first, last], in stream order, of a sample's targets.
  struct Documents {
    int64_t first = 0;
    int64_t last = 0;
  };
  Documents DocumentsOf(int64_t sample) const;

 private:
  PackedSamples() = default;
  // The document, in stream order, that the token at `place` belongs to.
  int64_t DocumentAt(int64_t place) const;

  const TokenDataset* dataset_ = nullptr;
  int64_t training_length_ = 0;
  int64_t num_samples_ = 0;
  int64_t unused_tokens_ = 0;
  std::vector<int64_t> order_;  // documents in stream order
  std::vector<int64_t> begin_;  // where each begins in the stream
};

}  // namespace lextra

#endif  // LEXTRA_DATA_SAMPLES_PACKED_SAMPLES_H_
