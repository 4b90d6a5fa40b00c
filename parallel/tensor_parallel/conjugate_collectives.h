// The conjugate collectives of the tensor axis (Shoeybi et al. 2019,
// "Megatron-LM", section 3, operators f and g):
//
//      forward         backward        used
//   f  identity        all-reduce      into a column-parallel layer
//   g  all-reduce      identity        out of a row-parallel layer or embedding
//
// and if the tokens are split, too (Korthikanti et al. 2022, "Reducing
// Activation Recomputation in Large Transformer Models", section 4.2.2):
//
//   f' all-gather      reduce-scatter
//   g' reduce-scatter  all-gather
//
// f and f' are part of ColumnParallelLinear, whose backward pass overlaps the
// sum with the weight's gradient (sharded_linear.cc); g and g' are here.
//
// Shapes: N tokens, C width, P ranks of the axis.
#ifndef LEXTRA_PARALLEL_TENSOR_PARALLEL_CONJUGATE_COLLECTIVES_H_
#define LEXTRA_PARALLEL_TENSOR_PARALLEL_CONJUGATE_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include <utility>

#include "parallel/communicator.h"

namespace lextra {

// What a rank of the axis holds between the sharded layers: all N tokens, or
// only its part, tokens [rank N/P, (rank + 1) N/P) as [N/P, C]. Tokens are
// counted through a batch: any leading dimensions, flattened.
enum class ActivationLayout { kReplicated, kSplit };

// The sum of the ranks' x [.., C]: all of it, shaped like x, or this rank's
// part [N/P, C]. A group of one rank has x already.
at::Tensor ReduceFromAxis(
    const at::Tensor& x, Communicator& axis,
    ActivationLayout layout = ActivationLayout::kReplicated);

// A tensor that is available after Wait(), which must be called.
class PendingTensor {
 public:
  PendingTensor() = default;
  explicit PendingTensor(at::Tensor tensor, PendingCollective collective = {})
      : tensor_(std::move(tensor)), collective_(std::move(collective)) {}
  at::Tensor Wait() {
    collective_.Wait();
    return tensor_;
  }

 private:
  at::Tensor tensor_;
  PendingCollective collective_;
};

// Without autograd: the tokens [N, C] of all ranks from their parts [N/P, C],
// and this rank's part [N/P, C] of the sum of the ranks' [N, C].
PendingTensor StartGather(const at::Tensor& part, Communicator& axis);
PendingTensor StartReduceScatter(const at::Tensor& whole, Communicator& axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_TENSOR_PARALLEL_CONJUGATE_COLLECTIVES_H_
