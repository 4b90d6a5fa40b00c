#include "parallel/tensor_parallel/conjugate_collectives.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/saved_pointer.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Reduce : public torch::autograd::Function<Reduce> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& x,
                            Communicator* axis) {
    // x may be in use elsewhere: the sum gets its own memory.
    const at::Tensor sum = x.clone(at::MemoryFormat::Contiguous);
    axis->AllReduce(sum, ReduceOp::kSum);
    return sum;
  }
  static variable_list backward(AutogradContext*, variable_list gradients) {
    return {gradients[0], at::Tensor()};
  }
};

class ReduceScatter : public torch::autograd::Function<ReduceScatter> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            Communicator* axis) {
    // The axis outlives every graph.
    context->saved_data["axis"] = SavedPointer(axis);
    context->saved_data["shape"] = x.sizes();
    return StartReduceScatter(x.flatten(0, -2), *axis).Wait();
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    auto* axis = PointerOf<Communicator>(context->saved_data["axis"]);
    return {StartGather(gradients[0], *axis)
                .Wait()
                .view(context->saved_data["shape"].toIntVector()),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor ReduceFromAxis(const at::Tensor& x, Communicator& axis,
                          ActivationLayout layout) {
  const bool split = layout == ActivationLayout::kSplit;
  if (axis.size() == 1) return split ? x.flatten(0, -2) : x;
  return split ? ReduceScatter::apply(x, &axis) : Reduce::apply(x, &axis);
}

PendingTensor StartGather(const at::Tensor& part, Communicator& axis) {
  const at::Tensor whole =
      at::empty({part.size(0) * axis.size(), part.size(1)}, part.options());
  return PendingTensor(whole, axis.AllGatherAsync(whole, part.contiguous()));
}

PendingTensor StartReduceScatter(const at::Tensor& whole, Communicator& axis) {
  TORCH_CHECK(whole.size(0) % axis.size() == 0, whole.size(0),
              " tokens do not divide evenly among ", axis.size(),
              " tensor ranks");
  const at::Tensor part =
      at::empty({whole.size(0) / axis.size(), whole.size(1)}, whole.options());
  return PendingTensor(
      part, axis.ReduceScatterAsync(part, whole.contiguous(), ReduceOp::kSum));
}

}  // namespace lextra
