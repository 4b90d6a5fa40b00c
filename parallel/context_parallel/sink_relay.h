// What attention with sinks needs from the document's start: the keys and
// values of its first tokens, on every rank of the context axis.
#ifndef LEXTRA_PARALLEL_CONTEXT_PARALLEL_SINK_RELAY_H_
#define LEXTRA_PARALLEL_CONTEXT_PARALLEL_SINK_RELAY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

namespace lextra {

// The keys and values of the document's first tokens, for all ranks that have a
// segment: rank 0 holds them in round 0, in which they are passed from neighbor
// to neighbor and kept per layer.
class SinkRelay {
 public:
  SinkRelay(Communicator& sequence_axis, int64_t num_layers);

  void BeginDocument(int64_t num_segments);
  // `first_tokens`: on rank 0 in round 0 the tensor to send; elsewhere a tensor
  // of the same shape. Called once in each layer of each round.
  at::Tensor Get(int64_t layer, const at::Tensor& first_tokens);

 private:
  Communicator& sequence_axis_;
  std::vector<at::Tensor> kept_;  // per layer
  int64_t num_segments_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CONTEXT_PARALLEL_SINK_RELAY_H_
