// Collectives that autograd knows, as pairs over one axis of the mesh:
//
//                    forward       backward      used
//   CopyToAxis       identity      all-reduce    into a column-parallel layer
//   ReduceFromAxis   all-reduce    identity      out of a row-parallel layer or
//                                                an embedding
//   GatherFromAxis   all-gather    reduce-       as CopyToAxis, where each rank
//                                  scatter       holds a part of the tokens
//   ScatterToAxis    reduce-       all-gather    as ReduceFromAxis, likewise
//                    scatter
//
// The last two join and cut dimension 0, in rank order. A group of one rank
// returns its argument. Source: the conjugate operators f and g of Megatron-LM
// (Shoeybi et al. 2019, section 3) and g-bar of its sequence parallelism
// (Korthikanti et al. 2022, section 4.2.2).
#ifndef LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
#define LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"

namespace lextra {

at::Tensor CopyToAxis(const at::Tensor& x, Communicator& axis);
at::Tensor ReduceFromAxis(const at::Tensor& x, Communicator& axis);
// [n, ..] -> [P n, ..] of a group of P.
at::Tensor GatherFromAxis(const at::Tensor& x, Communicator& axis);
// [P n, ..] -> [n, ..].
at::Tensor ScatterToAxis(const at::Tensor& x, Communicator& axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
