// ColumnParallelLinear and RowParallelLinear.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "ops/gelu.h"
#include "ops/matmul.h"
#include "ops/saved_pointer.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The pending sum of the ranks' dx [N, C], or of this rank's tokens of it.
PendingTensor StartSum(const at::Tensor& dx, Communicator* axis,
                       ActivationLayout layout) {
  if (axis == nullptr) return PendingTensor(dx);
  if (layout == ActivationLayout::kSplit) return StartReduceScatter(dx, *axis);
  return PendingTensor(dx, axis->AllReduceAsync(dx, ReduceOp::kSum));
}

// y = x W^T + b on this rank alone, or its GELU. The gradients of weight and
// bias go straight into GradientOf(leaf). The input's is summed over the ranks
// of `axis`, if there is one, while the weight's is computed. With split tokens
// each rank of the axis holds its part: the whole x is gathered, and gathered
// again for the weight's gradient while the input's is computed.
class Linear : public torch::autograd::Function<Linear> {
 public:
  struct Options {
    Communicator* axis = nullptr;  // outlives every graph
    ActivationLayout layout = ActivationLayout::kReplicated;
    bool gelu = false;
  };

  static at::Tensor Apply(const at::Tensor& x, const Parameter& weight,
                          const Parameter& bias, const Options& options) {
    // Autograd accepts no undefined tensor as an argument, and is always off
    // inside forward.
    return apply(x, weight.leaf,
                 bias.leaf.defined() ? std::optional(bias.leaf) : std::nullopt,
                 options.axis, options.layout, options.gelu,
                 at::GradMode::is_enabled());
  }

  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& optional_bias,
                            Communicator* axis, ActivationLayout layout,
                            bool gelu, bool with_gradient) {
    const at::Tensor bias = optional_bias.value_or(at::Tensor());
    const at::Tensor kept = x.reshape({-1, weight.size(1)});
    const bool is_split = axis != nullptr && layout == ActivationLayout::kSplit;
    const at::Tensor x_NC = is_split ? StartGather(kept, *axis).Wait() : kept;
    GeluProduct product;
    if (gelu) {
      product = GeluOfProduct(x_NC, weight.t(), bias, with_gradient);
    } else {
      product.y = at::empty({x_NC.size(0), weight.size(0)}, x.options());
      Matmul(product.y, x_NC, weight.t(), bias);
    }
    context->save_for_backward({kept, weight, bias, product.saved});
    context->saved_data["axis"] = SavedPointer(axis);
    context->saved_data["is_split"] = is_split;
    context->saved_data["shape"] = x.sizes();
    if (is_split) return product.y;
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return product.y.view(shape);
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& weight = saved[1];
    const at::Tensor& before_gelu = saved[3];
    auto* axis = PointerOf<Communicator>(context->saved_data["axis"]);
    const at::Tensor dbias = saved[2].defined() && context->needs_input_grad(2)
                                 ? GradientOf(saved[2])
                                 : at::Tensor();
    const ActivationLayout layout = context->saved_data["is_split"].toBool()
                                        ? ActivationLayout::kSplit
                                        : ActivationLayout::kReplicated;
    PendingTensor x_NC = layout == ActivationLayout::kSplit
                             ? StartGather(saved[0], *axis)
                             : PendingTensor(saved[0]);
    at::Tensor dy = gradients[0].reshape({-1, weight.size(0)});
    if (before_gelu.defined()) {
      dy = GeluGradient(dy, before_gelu, dbias);
    } else if (dbias.defined()) {
      AddColumnSums(dbias, dy);
    }
    PendingTensor dx;
    if (context->needs_input_grad(0)) {
      const at::Tensor own =
          at::empty({dy.size(0), weight.size(1)}, dy.options());
      Matmul(own, dy, weight);
      dx = StartSum(own, axis, layout);
    }
    const at::Tensor x = x_NC.Wait();
    if (context->needs_input_grad(1))
      MatmulAccumulate(GradientOf(weight), dy.t(), x);
    variable_list of_arguments(7);
    if (context->needs_input_grad(0)) {
      of_arguments[0] =
          dx.Wait().view(context->saved_data["shape"].toIntVector());
    }
    return of_arguments;
  }
};

// y + b, whose gradient for b is summed like those of Linear.
class AddBias : public torch::autograd::Function<AddBias> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y,
                            const at::Tensor& bias) {
    context->save_for_backward({bias});
    return y + bias;
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const at::Tensor bias = context->get_saved_variables()[0];
    AddColumnSums(GradientOf(bias), gradients[0].reshape({-1, bias.size(0)}));
    return {gradients[0], at::Tensor()};
  }
};

// This rank's part of `total`, which must divide evenly.
int64_t PartOf(int64_t total, const Communicator& axis,
               const std::string& what) {
  TORCH_CHECK(total % axis.size() == 0, what, ": ", total,
              " does not divide evenly among ", axis.size(), " tensor ranks");
  return total / axis.size();
}

void CheckInput(const at::Tensor& x, const Parameter& weight) {
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == weight.leaf.size(1),
              weight.pieces[0].name, ": input of shape ", x.sizes(),
              ", this rank's matrix is ", weight.leaf.sizes());
}

// The parameters that exist.
std::vector<Parameter*> WithLeaf(Parameter& weight, Parameter& bias) {
  if (!bias.leaf.defined()) return {&weight};
  return {&weight, &bias};
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(Communicator& tensor_axis,
                                           std::vector<Output> outputs,
                                           int64_t in_features, bool bias,
                                           const Initializer& initialize)
    : tensor_axis_(tensor_axis) {
  std::vector<Parameter::Piece> weights;
  std::vector<Parameter::Piece> biases;
  for (const Output& output : outputs) {
    const int64_t rows = PartOf(output.rows, tensor_axis, output.name);
    const int64_t first = rows * tensor_axis.rank();
    weights.push_back({.name = output.name + ".weight",
                       .global_shape = {output.rows, in_features},
                       .box = {{first, 0}, {rows, in_features}}});
    biases.push_back({.name = output.name + ".bias",
                      .global_shape = {output.rows},
                      .box = {{first}, {rows}}});
  }
  weight_ = MakeParameter(std::move(weights), /*weight_decay=*/true,
                          /*tensor_sharded=*/true, initialize);
  if (bias) {
    bias_ = MakeParameter(std::move(biases), /*weight_decay=*/false,
                          /*tensor_sharded=*/true, initialize);
  }
}

at::Tensor ColumnParallelLinear::Apply(const at::Tensor& x,
                                       ActivationLayout layout, bool gelu) {
  CheckInput(x, weight_);
  return Linear::Apply(
      x, weight_, bias_,
      {.axis = tensor_axis_.size() > 1 ? &tensor_axis_ : nullptr,
       .layout = layout,
       .gelu = gelu});
}

std::vector<Parameter*> ColumnParallelLinear::parameters() {
  return WithLeaf(weight_, bias_);
}

RowParallelLinear::RowParallelLinear(Communicator& tensor_axis,
                                     const std::string& name,
                                     int64_t out_features, int64_t in_features,
                                     bool bias, const Initializer& initialize)
    : tensor_axis_(tensor_axis) {
  const int64_t columns = PartOf(in_features, tensor_axis, name);
  const int64_t first = columns * tensor_axis.rank();
  weight_ =
      MakeParameter({{.name = name + ".weight",
                      .global_shape = {out_features, in_features},
                      .split_dim = 1,
                      .box = {{0, first}, {out_features, columns}}}},
                    /*weight_decay=*/true, /*tensor_sharded=*/true, initialize);
  if (bias) {
    bias_ = MakeParameter({{.name = name + ".bias",
                            .global_shape = {out_features},
                            .box = Box::Whole({out_features})}},
                          /*weight_decay=*/false, /*tensor_sharded=*/false,
                          initialize);
  }
}

at::Tensor RowParallelLinear::operator()(const at::Tensor& x,
                                         ActivationLayout layout) {
  CheckInput(x, weight_);
  // On one rank the bias goes into the product; otherwise it follows the sum.
  const bool is_alone = tensor_axis_.size() == 1;
  const at::Tensor y = ReduceFromAxis(
      Linear::Apply(x, weight_, is_alone ? bias_ : Parameter(), {}),
      tensor_axis_, layout);
  return bias_.leaf.defined() && !is_alone ? AddBias::apply(y, bias_.leaf) : y;
}

std::vector<Parameter*> RowParallelLinear::parameters() {
  return WithLeaf(weight_, bias_);
}

}  // namespace lextra
