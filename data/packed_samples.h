// Samples of the training length cut from the documents laid end to end in a
// shuffled order (seed alone decides it), each closed by eos. Sample i is
// tokens [i * T, i * T + T] of that stream: T inputs and, one place later, T
// targets.
#ifndef LEXTRA_DATA_PACKED_SAMPLES_H_
#define LEXTRA_DATA_PACKED_SAMPLES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "data/token_dataset.h"

namespace lextra {

class PackedSamples {
 public:
  // `dataset` outlives this. InputError where there is not one whole sample.
  static absl::StatusOr<PackedSamples> Create(const TokenDataset& dataset,
                                              int64_t training_length,
                                              uint64_t seed);

  int64_t num_samples() const { return num_samples_; }
  // Tokens at the stream's end that don't fill a sample.
  int64_t unused_tokens() const { return unused_tokens_; }
  // Fills out with the training_length + 1 tokens of a sample.
  absl::Status Read(int64_t sample, std::span<int64_t> out) const;

 private:
  PackedSamples() = default;

  const TokenDataset* dataset_ = nullptr;
  int64_t training_length_ = 0;
  int64_t num_samples_ = 0;
  int64_t unused_tokens_ = 0;
  std::vector<int64_t> order_;  // documents in stream order
  std::vector<int64_t> begin_;  // where each begins in the stream
};

}  // namespace lextra

#endif  // LEXTRA_DATA_PACKED_SAMPLES_H_
