// Activation recomputation: what a part of the model needs for its backward
// pass is not kept but recomputed from the part's input when the gradient
// arrives (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
#ifndef LEXTRA_MODEL_RECOMPUTATION_H_
#define LEXTRA_MODEL_RECOMPUTATION_H_

#include <ATen/core/Tensor.h>

#include <functional>

namespace lextra {

// part(x), with bitwise the same gradients as without recomputation. `part` is
// called twice, the second time in the backward pass, and must do the same both
// times (collectives included). x requires a gradient; tensors that `part`
// captures may be leaves, and get their gradients. What it captures by
// reference must live until the backward pass.
at::Tensor Recomputed(std::function<at::Tensor(const at::Tensor&)> part,
                      const at::Tensor& x);

}  // namespace lextra

#endif  // LEXTRA_MODEL_RECOMPUTATION_H_
