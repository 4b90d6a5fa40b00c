#include "parallel/halo_exchange.h"

#include <ATen/ATen.h>

#include <utility>

namespace lextra {

HaloExchange::HaloExchange(Communicator& sequence_axis, int64_t num_layers)
    : sequence_axis_(sequence_axis), kept_(num_layers) {}

void HaloExchange::BeginDocument(int64_t num_segments) {
  num_segments_ = num_segments;
  kept_.assign(kept_.size(), at::Tensor());
  BeginRound(0);
}

void HaloExchange::BeginRound(int64_t round) {
  segment_ = round * sequence_axis_.size() + sequence_axis_.rank();
}

void HaloExchange::Start(int64_t layer, const at::Tensor& last_block) {
  TORCH_CHECK(layer >= 0 && layer < static_cast<int64_t>(kept_.size()),
              "halo of layer ", layer, " of ", kept_.size());
  const int num_ranks = sequence_axis_.size();
  const int rank = sequence_axis_.rank();
  const bool sends = segment_ + 1 < num_segments_;
  // What arrives belongs before this rank's segment; on rank 0 before that of
  // the next round.
  const int64_t receiver = rank > 0 ? segment_ : segment_ + num_ranks;
  received_ =
      receiver < num_segments_ ? at::empty_like(last_block) : at::Tensor();
  pending_ = sequence_axis_.SendReceiveAsync(
      sends ? last_block : at::Tensor(), (rank + 1) % num_ranks, received_,
      (rank + num_ranks - 1) % num_ranks);
}

at::Tensor HaloExchange::Finish(int64_t layer) {
  pending_.Wait();
  if (sequence_axis_.rank() == 0) std::swap(kept_[layer], received_);
  return std::exchange(received_, at::Tensor());
}

}  // namespace lextra
