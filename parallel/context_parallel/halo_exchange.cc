#include "parallel/context_parallel/halo_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace lextra {

HaloExchange::HaloExchange(Communicator& sequence_axis, int64_t num_layers)
    : sequence_axis_(sequence_axis), kept_(num_layers) {}

void HaloExchange::BeginDocument(int64_t num_segments, int64_t reach) {
  num_segments_ = num_segments;
  reach_ = reach;
  for (auto& of_layer : kept_) of_layer.clear();
  BeginRound(0);
}

void HaloExchange::BeginRound(int64_t round) {
  segment_ = round * sequence_axis_.size() + sequence_axis_.rank();
}

// By the receiver's segment in this round or the next. What one receiver does
// not need, no later one needs.
bool HaloExchange::IsNeeded(int64_t tail_segment,
                            int64_t receiver_segment) const {
  for (const int64_t reader :
       {receiver_segment, receiver_segment + sequence_axis_.size()}) {
    if (tail_segment < reader && reader - tail_segment <= reach_ &&
        reader < num_segments_) {
      return true;
    }
  }
  return false;
}

// The segment whose tail arrives after `hop` hops: this round's segment of the
// rank `hop` places to the left in the ring.
int64_t HaloExchange::SegmentFromLeft(int64_t hop) const {
  const int64_t size = sequence_axis_.size();
  const int64_t rank = sequence_axis_.rank();
  return segment_ - rank + (rank + size - hop % size) % size;
}

PendingCollective HaloExchange::Hop(int64_t hop) {
  const int size = sequence_axis_.size();
  const int rank = sequence_axis_.rank();
  const int64_t sent = SegmentFromLeft(hop - 1);
  const int64_t right = rank + 1 < size ? segment_ + 1 : segment_ - rank;
  const bool sends = IsNeeded(sent, right);
  const bool receives = IsNeeded(SegmentFromLeft(hop), segment_);
  received_ = receives ? at::empty_like(traveling_) : at::Tensor();
  return sequence_axis_.SendReceiveAsync(sends ? traveling_ : at::Tensor(),
                                         (rank + 1) % size, received_,
                                         (rank + size - 1) % size);
}

void HaloExchange::Start(int64_t layer, const at::Tensor& tail) {
  TORCH_CHECK(layer >= 0 && layer < std::ssize(kept_), "halo of layer ", layer,
              " of ", kept_.size());
  kept_[layer][segment_] = tail;
  traveling_ = tail;
  if (sequence_axis_.size() > 1) pending_ = Hop(1);
}

std::vector<at::Tensor> HaloExchange::Finish(int64_t layer) {
  const int64_t size = sequence_axis_.size();
  std::map<int64_t, at::Tensor>& kept = kept_[layer];
  const int64_t hops = std::min(reach_, size - 1);
  for (int64_t hop = 1; hop <= hops; ++hop) {
    if (hop > 1) pending_ = Hop(hop);
    pending_.Wait();
    if (received_.defined()) {
      kept[SegmentFromLeft(hop)] = received_;
      traveling_ = std::exchange(received_, at::Tensor());
    }
  }
  std::vector<at::Tensor> before;
  for (const auto& [segment, tail] : kept) {
    if (segment < segment_ && segment_ - segment <= reach_) {
      before.push_back(tail);
    }
  }
  std::erase_if(kept, [&](const auto& entry) {
    return segment_ + size - entry.first > reach_;
  });
  traveling_ = at::Tensor();
  return before;
}

}  // namespace lextra
