#include "parallel/context_parallel/sink_relay.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lextra {

SinkRelay::SinkRelay(Communicator& sequence_axis, int64_t num_layers)
    : sequence_axis_(sequence_axis), kept_(num_layers) {}

void SinkRelay::BeginDocument(int64_t num_segments) {
  num_segments_ = num_segments;
  kept_.assign(kept_.size(), at::Tensor());
}

at::Tensor SinkRelay::Get(int64_t layer, const at::Tensor& first_tokens) {
  at::Tensor& kept = kept_[layer];
  if (kept.defined()) return kept;
  const int rank = sequence_axis_.rank();
  const bool has_right =
      rank + 1 < std::min<int64_t>(sequence_axis_.size(), num_segments_);
  kept = rank == 0 ? first_tokens : at::empty_like(first_tokens);
  if (rank > 0) {
    sequence_axis_.SendReceive(at::Tensor(), 0, kept, rank - 1);
  }
  if (has_right) {
    sequence_axis_.SendReceive(kept, rank + 1, at::Tensor(), 0);
  }
  return kept;
}

}  // namespace lextra
