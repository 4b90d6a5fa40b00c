// Samples as a model's input tensor.
#ifndef LEXTRA_TRAINER_SAMPLE_BATCH_H_
#define LEXTRA_TRAINER_SAMPLE_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "base/status.h"
#include "data/samples/packed_samples.h"

namespace lextra {

// The given samples in order, int64 [B, T + 1] on the host.
absl::StatusOr<at::Tensor> ReadSamples(const PackedSamples& samples,
                                       std::span<const int64_t> wanted);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_SAMPLE_BATCH_H_
