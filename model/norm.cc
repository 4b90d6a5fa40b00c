#include "model/norm.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <utility>

#include "model/norm_passes.h"
#include "ops/saved_pointer.h"

// Legend: N rows, C columns on this rank.
namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::optional<at::Tensor> IfDefined(const at::Tensor& x) {
  return x.defined() ? std::optional(x) : std::nullopt;
}

// norm(x), or with a branch: norm(x + branch) and x + branch.
class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias,
                               const std::optional<at::Tensor>& branch,
                               bool centered, double epsilon,
                               Communicator* split_over) {
    const at::Tensor in_NC = x.reshape({-1, weight.size(0)}).contiguous();
    const at::ScalarType statistics =
        x.scalar_type() == at::kBFloat16 ? at::kFloat : x.scalar_type();
    const at::TensorOptions options = x.options().dtype(statistics);
    const NormRows rows = {.x_NC = branch ? at::empty_like(in_NC) : in_NC,
                           .weight = weight,
                           .mean_N = at::zeros({in_NC.size(0)}, options),
                           .rstd_N = at::zeros({in_NC.size(0)}, options),
                           .centered = centered,
                           .split_over = split_over};
    NormForward pass = {.addend_NC = {},
                        .branch_NC = {},
                        .bias = bias.value_or(at::Tensor()),
                        .epsilon = epsilon,
                        .y_NC = at::empty_like(in_NC)};
    if (branch) {
      pass.addend_NC = in_NC;
      pass.branch_NC = branch->reshape(in_NC.sizes()).contiguous();
    }
    Normalize(rows, pass);
    context->save_for_backward(
        {rows.x_NC, weight, pass.bias, rows.mean_N, rows.rstd_N});
    context->saved_data["centered"] = centered;
    context->saved_data["split_over"] = SavedPointer(split_over);
    context->set_materialize_grads(false);
    variable_list outputs = {pass.y_NC.view(x.sizes())};
    if (branch) outputs.push_back(rows.x_NC.view(x.sizes()));
    return outputs;
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const bool has_branch = gradients.size() > 1;
    const at::Tensor& dy = gradients[0];
    at::Tensor dx = has_branch ? gradients[1] : at::Tensor();
    if (dy.defined()) dx = NormGradient(context, dy, dx);
    variable_list results(7);
    results[0] = dx;
    if (has_branch) results[3] = dx;
    return results;
  }

 private:
  // Accumulates into the parameters' gradients.
  static at::Tensor NormGradient(AutogradContext* context, const at::Tensor& dy,
                                 const at::Tensor& dx_from_residual) {
    const variable_list saved = context->get_saved_variables();
    const NormRows rows = {.x_NC = saved[0],
                           .weight = saved[1],
                           .mean_N = saved[3],
                           .rstd_N = saved[4],
                           .centered = context->saved_data["centered"].toBool(),
                           .split_over = PointerOf<Communicator>(
                               context->saved_data["split_over"])};
    const at::Tensor& bias = saved[2];
    const auto as_rows = [&](const at::Tensor& x) {
      return x.reshape(rows.x_NC.sizes()).contiguous();
    };
    const NormBackward pass = {
        .dy_NC = as_rows(dy),
        .dx_from_residual_NC = dx_from_residual.defined()
                                   ? as_rows(dx_from_residual)
                                   : at::Tensor(),
        .dx_NC = at::empty_like(rows.x_NC)};
    const at::Tensor blocks = NormalizeGradient(rows, pass);
    if (context->needs_input_grad(1)) {
      GradientOf(rows.weight).add_(blocks.select(1, 0).sum(0));
    }
    if (bias.defined() && context->needs_input_grad(2)) {
      GradientOf(bias).add_(blocks.select(1, 1).sum(0));
    }
    return pass.dx_NC.view(dy.sizes());
  }
};

}  // namespace

NormLayer::NormLayer(Norm kind, const std::string& name, int64_t width,
                     double epsilon, bool bias, Communicator* split_over,
                     const Initializer& initialize)
    : kind_(kind),
      epsilon_(epsilon),
      split_over_(split_over != nullptr && split_over->size() > 1 ? split_over
                                                                  : nullptr) {
  const int num_ranks = split_over == nullptr ? 1 : split_over->size();
  const int rank = split_over == nullptr ? 0 : split_over->rank();
  TORCH_CHECK(width % num_ranks == 0, name, ": a width of ", width,
              " does not divide evenly among ", num_ranks, " tensor ranks");
  const int64_t columns = width / num_ranks;
  const auto make = [&](const char* suffix) {
    return MakeParameter({{.name = name + suffix,
                           .global_shape = {width},
                           .box = {{rank * columns}, {columns}}}},
                         /*weight_decay=*/false,
                         /*tensor_sharded=*/split_over != nullptr, initialize);
  };
  weight_ = make(".weight");
  if (kind == LAYER_NORM && bias) bias_ = make(".bias");
}

at::Tensor NormLayer::operator()(const at::Tensor& x) {
  return Apply(x, std::nullopt)[0];
}

NormLayer::Residual NormLayer::operator()(const at::Tensor& x,
                                          const at::Tensor& branch) {
  if (!branch.defined()) return {x, (*this)(x)};
  TORCH_CHECK(split_over_ == nullptr && branch.sizes() == x.sizes() &&
                  branch.scalar_type() == x.scalar_type(),
              weight_.pieces[0].name, ": branch ", branch.scalar_type(), " ",
              branch.sizes(), ", but the residual stream is ", x.scalar_type(),
              " ", x.sizes());
  const std::vector<at::Tensor> outputs = Apply(x, branch);
  return {outputs[1], outputs[0]};
}

std::vector<at::Tensor> NormLayer::Apply(
    const at::Tensor& x, const std::optional<at::Tensor>& branch) {
  const at::Tensor& weight = weight_.leaf;
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == weight.size(0) &&
                  x.scalar_type() == weight.scalar_type(),
              weight_.pieces[0].name, ": input ", x.scalar_type(), " ",
              x.sizes(), ", this rank's weight is ", weight.scalar_type(), " ",
              weight.sizes());
  return NormFunction::apply(x, weight, IfDefined(bias_.leaf), branch,
                             kind_ == LAYER_NORM, epsilon_, split_over_);
}

std::vector<Parameter*> NormLayer::parameters() {
  if (!bias_.leaf.defined()) return {&weight_};
  return {&weight_, &bias_};
}

}  // namespace lextra
