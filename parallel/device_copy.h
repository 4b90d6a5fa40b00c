// Copies between the host and the device of a mesh; on a CPU nothing is copied.
#ifndef LEXTRA_PARALLEL_DEVICE_COPY_H_
#define LEXTRA_PARALLEL_DEVICE_COPY_H_

#include <ATen/core/Tensor.h>

#include "parallel/communicator.h"

namespace lextra {

// `on_host` on the device. The host does not wait for the copy: it goes through
// pinned memory, in the order of the current stream.
at::Tensor CopyToDevice(const at::Tensor& on_host, const at::Device& device);

// on_host <- op over the ranks of an axis whose tensors may live on a GPU.
// Waits for the result.
void AllReduceOnHost(const at::Tensor& on_host, ReduceOp op,
                     Communicator& axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DEVICE_COPY_H_
