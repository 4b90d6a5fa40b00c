// What blockwise causal attention needs from the left neighbour: the keys and
// values of the block before this rank's first (docs/method.md, section 2).
//
// A document's segments are dealt to the P ranks of the sequence axis in
// rounds: segment s is rank s % P's in round s / P. In every layer of every
// round a rank sends its LAST block to the rank that holds the next segment.
// Rank P - 1 sends to rank 0, which uses it one round later, so its halo is
// kept per layer. One message of 2 * B * h * num_kv_heads * head_size elements
// a layer and round, whatever the document's length and P.
#ifndef LEXTRA_PARALLEL_HALO_EXCHANGE_H_
#define LEXTRA_PARALLEL_HALO_EXCHANGE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace lextra {

class HaloExchange {
 public:
  HaloExchange(Communicator& sequence_axis, int64_t num_layers);

  // A new document of `num_segments` segments: forgets what is kept.
  void BeginDocument(int64_t num_segments);
  // The next round; `round` counts from 0.
  void BeginRound(int64_t round);

  // Segment this rank holds in this round; may be beyond the last one, then the
  // rank takes no part in the round (it may still receive for the next).
  int64_t segment() const { return segment_; }

  // Starts the exchange of `layer`: `last_block` [2, ...] (keys, values;
  // rotated at their place in the block), contiguous, same shape on all ranks.
  // A rank without a segment passes a tensor of that shape, which is not sent.
  void Start(int64_t layer, const at::Tensor& last_block);
  // The left neighbour's block, of the same shape; undefined for the document's
  // first segment. Waits for the message.
  at::Tensor Finish(int64_t layer);

 private:
  Communicator& sequence_axis_;
  std::vector<at::Tensor> kept_;  // per layer, rank 0: for the next round
  int64_t num_segments_ = 0;
  int64_t segment_ = 0;
  at::Tensor received_;
  PendingCollective pending_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_HALO_EXCHANGE_H_
