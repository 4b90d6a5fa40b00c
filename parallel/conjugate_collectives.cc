#include "parallel/conjugate_collectives.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Incoming tensors may be shared or expanded: the sum gets its own memory.
at::Tensor Sum(const at::Tensor& x, Communicator& axis) {
  const at::Tensor sum = x.clone(at::MemoryFormat::Contiguous);
  axis.AllReduce(sum, ReduceOp::kSum);
  return sum;
}

at::Tensor JoinParts(const at::Tensor& part, Communicator& axis) {
  std::vector<int64_t> shape = part.sizes().vec();
  shape[0] *= axis.size();
  const at::Tensor whole = at::empty(shape, part.options());
  axis.AllGather(whole, part.contiguous());
  return whole;
}

at::Tensor SumOfParts(const at::Tensor& whole, Communicator& axis) {
  TORCH_CHECK(whole.size(0) % axis.size() == 0, "rows of ", whole.sizes(),
              " do not divide among ", axis.size(), " ", axis.axis(), " ranks");
  std::vector<int64_t> shape = whole.sizes().vec();
  shape[0] /= axis.size();
  const at::Tensor part = at::empty(shape, whole.options());
  axis.ReduceScatter(part, whole.contiguous(), ReduceOp::kSum);
  return part;
}

// Autograd's notebook takes numbers; the axis outlives every graph.
void Remember(Communicator* axis, AutogradContext* context) {
  context->saved_data["axis"] = reinterpret_cast<int64_t>(axis);
}

Communicator& AxisOf(AutogradContext* context) {
  return *reinterpret_cast<Communicator*>(context->saved_data["axis"].toInt());
}

class Copy : public torch::autograd::Function<Copy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            Communicator* axis) {
    Remember(axis, context);
    return x;
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    return {Sum(gradients[0], AxisOf(context)), at::Tensor()};
  }
};

class Reduce : public torch::autograd::Function<Reduce> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& x,
                            Communicator* axis) {
    return Sum(x, *axis);
  }
  static variable_list backward(AutogradContext*, variable_list gradients) {
    return {gradients[0], at::Tensor()};
  }
};

class Gather : public torch::autograd::Function<Gather> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            Communicator* axis) {
    Remember(axis, context);
    return JoinParts(x, *axis);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    return {SumOfParts(gradients[0], AxisOf(context)), at::Tensor()};
  }
};

class Scatter : public torch::autograd::Function<Scatter> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            Communicator* axis) {
    Remember(axis, context);
    return SumOfParts(x, *axis);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    return {JoinParts(gradients[0], AxisOf(context)), at::Tensor()};
  }
};

}  // namespace

at::Tensor CopyToAxis(const at::Tensor& x, Communicator& axis) {
  return axis.size() == 1 ? x : Copy::apply(x, &axis);
}

at::Tensor ReduceFromAxis(const at::Tensor& x, Communicator& axis) {
  return axis.size() == 1 ? x : Reduce::apply(x, &axis);
}

at::Tensor GatherFromAxis(const at::Tensor& x, Communicator& axis) {
  return axis.size() == 1 ? x : Gather::apply(x, &axis);
}

at::Tensor ScatterToAxis(const at::Tensor& x, Communicator& axis) {
  return axis.size() == 1 ? x : Scatter::apply(x, &axis);
}

}  // namespace lextra
