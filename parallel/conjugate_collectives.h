// Collectives that autograd knows, as pairs over one axis of the mesh:
//
//                    forward       backward      used
//   CopyToAxis       identity      all-reduce    into a column-parallel layer
//   ReduceFromAxis   all-reduce    identity      out of a row-parallel layer or
//                                                an embedding
//
// A group of one rank returns its argument. Source: the conjugate operators f
// and g of Megatron-LM (Shoeybi et al. 2019, section 3).
#ifndef LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
#define LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"

namespace lextra {

at::Tensor CopyToAxis(const at::Tensor& x, Communicator& axis);
at::Tensor ReduceFromAxis(const at::Tensor& x, Communicator& axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_CONJUGATE_COLLECTIVES_H_
