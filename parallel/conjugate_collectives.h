// The conjugate collectives of the tensor axis (Shoeybi et al. 2019,
// "Megatron-LM", section 3, operators f and g):
//
//     forward       backward      used
//   f identity      all-reduce    into a column-parallel layer
//   g all-reduce    identity      out of a row-parallel layer or an embedding
//
// f is part of ColumnParallelLinear's backward pass, where the sum travels
// while the weight's gradient is computed (sharded_linear.cc); g is here. A
// group of one rank returns its argument.
#ifndef LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
#define LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"

namespace lextra {

at::Tensor ReduceFromAxis(const at::Tensor& x, Communicator& axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
