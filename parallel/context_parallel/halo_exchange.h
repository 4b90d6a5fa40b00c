// What blockwise attention needs from the segments before a rank's own: the
// keys and values of their last blocks (docs/method.md, section 2).
//
// A document's segments are assigned round-robin to the P ranks of the context
// axis: rank s % P has segment s in round s / P. A segment needs the tails of
// up to `reach` segments before it: one if a tail has all the blocks that
// queries look back at, more if a window is longer than a segment. In every
// layer of every round tails go from rank to rank + 1: first each rank's own,
// then those received, min(reach, P - 1) hops in total. A rank keeps tails of
// later segments than its own (which wrapped around the ring) for its next
// round, per layer. For reach 1 that is one message per layer and round,
// whatever the document's length and P.
#ifndef LEXTRA_PARALLEL_CONTEXT_PARALLEL_HALO_EXCHANGE_H_
#define LEXTRA_PARALLEL_CONTEXT_PARALLEL_HALO_EXCHANGE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "parallel/communicator.h"

namespace lextra {

class HaloExchange {
 public:
  HaloExchange(Communicator& sequence_axis, int64_t num_layers);

  // Starts a new document: drops kept tails.
  void BeginDocument(int64_t num_segments, int64_t reach);
  // Starts the next round; `round` counts from 0.
  void BeginRound(int64_t round);

  // The segment that this rank holds in this round; if it is beyond the last
  // one, the rank takes no part in the round.
  int64_t segment() const { return segment_; }

  // Starts the exchange of `layer`: `tail`, contiguous and of the same shape on
  // all ranks, of this rank's segment. (The last segment's tail is not sent.)
  void Start(int64_t layer, const at::Tensor& tail);
  // The tails of the segments before this one, the nearest last: `reach` of
  // them, fewer at the document's start. Waits for messages.
  std::vector<at::Tensor> Finish(int64_t layer);

 private:
  bool IsNeeded(int64_t tail_segment, int64_t receiver_segment) const;
  int64_t SegmentFromLeft(int64_t hop) const;
  PendingCollective Hop(int64_t hop);

  Communicator& sequence_axis_;
  // Per layer, by segment: tails that this rank or round still needs.
  std::vector<std::map<int64_t, at::Tensor>> kept_;
  int64_t num_segments_ = 0;
  int64_t reach_ = 1;
  int64_t segment_ = 0;
  at::Tensor traveling_;  // sent in the next hop
  at::Tensor received_;   // received in this hop; undefined: nothing
  PendingCollective pending_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CONTEXT_PARALLEL_HALO_EXCHANGE_H_
