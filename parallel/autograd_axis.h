// A mesh axis in autograd's notebook. Autograd saves tensors and numbers; the
// axis is kept as the number of its address and outlives every graph.
#ifndef LEXTRA_PARALLEL_AUTOGRAD_AXIS_H_
#define LEXTRA_PARALLEL_AUTOGRAD_AXIS_H_

#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>

#include "parallel/communicator.h"

namespace lextra {

inline void SaveAxis(torch::autograd::AutogradContext* context,
                     Communicator* axis) {
  context->saved_data["axis"] = reinterpret_cast<int64_t>(axis);
}

inline Communicator* SavedAxis(torch::autograd::AutogradContext* context) {
  return reinterpret_cast<Communicator*>(context->saved_data["axis"].toInt());
}

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_AUTOGRAD_AXIS_H_
