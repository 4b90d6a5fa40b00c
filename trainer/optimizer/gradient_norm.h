// The norm of the whole model's gradient, across all axes of the mesh.
#ifndef LEXTRA_TRAINER_OPTIMIZER_GRADIENT_NORM_H_
#define LEXTRA_TRAINER_OPTIMIZER_GRADIENT_NORM_H_

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"
#include "parallel/data_parallel/flat_parameters.h"

namespace lextra {

// Sum of squares of a contiguous fp32 or fp64 vector, exact to 2.4e-7: an fp64
// scalar on the vector's device. On CPUs chunks of fixed size are summed in
// lanes of the vector's dtype and added in fp64 in index order, so the result
// does not depend on the number of threads. (at::linalg_vector_norm is 4e-4 off
// at ten million fp32 elements; on GPUs it adds in fp64.)
at::Tensor SumOfSquares(const at::Tensor& vector);

// sqrt of the sum of squares over all parameters of the whole model, an fp64
// scalar on their device. Gradients that this rank owns are already summed over
// the data axis. Parameters sharded over the tensor axis are summed over it,
// replicated ones count once. The same on all ranks; NaN or infinite if any
// gradient is.
at::Tensor GlobalGradientNorm(const FlatParameters& parameters,
                              Communicator& data_axis,
                              Communicator& tensor_axis);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_OPTIMIZER_GRADIENT_NORM_H_
