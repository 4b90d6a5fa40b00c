#include "parallel/device_copy.h"

#include <ATen/ATen.h>

namespace lextra {

at::Tensor CopyToDevice(const at::Tensor& on_host, const at::Device& device) {
  return device.is_cpu()
             ? on_host
             : on_host.pin_memory().to(device, /*non_blocking=*/true);
}

void AllReduceOnHost(const at::Tensor& on_host, ReduceOp op,
                     Communicator& axis) {
  const at::Tensor on_device = CopyToDevice(on_host, axis.device());
  axis.AllReduce(on_device, op);
  if (!on_device.is_same(on_host)) on_host.copy_(on_device);
}

}  // namespace lextra
