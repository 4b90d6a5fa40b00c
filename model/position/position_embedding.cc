#include "model/position/position_embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "config/position_methods.h"
#include "ops/matmul.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// x + rows[positions].
class AddLearned : public torch::autograd::Function<AddLearned> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& rows,
                            const at::Tensor& positions) {
    context->save_for_backward({rows, positions});
    return x + at::embedding(rows, positions);
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& dx = gradients[0];
    const at::Tensor places = saved[1].reshape({-1});
    const at::Tensor dx_NC = dx.reshape({-1, dx.size(-1)});
    at::Tensor sums = GradientOf(saved[0]);
    if (sums.is_cuda()) {
      // index_put_ sorts: every rank of the tensor axis has all rows, and they
      // stay identical only if all ranks add in the same order.
      sums.index_put_({places}, dx_NC.to(sums.scalar_type()),
                      /*accumulate=*/true);
    } else {
      IndexAddRows(sums, places, dx_NC);
    }
    return {dx, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

PositionEmbedding::PositionEmbedding(const ModelConfig& model,
                                     Communicator& tensor_axis,
                                     const Initializer& initialize)
    : method_(model.position_encoding()),
      width_(model.hidden_size()),
      tensor_axis_(tensor_axis) {
  if (method_ != LEARNED) return;
  const std::vector<int64_t> shape = {model.training_length(), width_};
  rows_ = MakeParameter({{.name = "embed_positions.weight",
                          .global_shape = shape,
                          .box = {{0, 0}, shape}}},
                        /*weight_decay=*/true, /*tensor_sharded=*/false,
                        initialize);
}

at::Tensor PositionEmbedding::AddTo(const at::Tensor& x,
                                    at::IntArrayRef tokens_shape,
                                    const at::Tensor& positions_BT,
                                    ActivationLayout layout) const {
  if (!FactsOf(method_).adds_to_embedding) return x;
  const at::Tensor all =
      positions_BT.defined()
          ? positions_BT
          : at::arange(tokens_shape[1], x.options().dtype(at::kLong))
                .expand(tokens_shape);
  TORCH_CHECK(all.sizes() == tokens_shape, "positions ", all.sizes(),
              " of tokens ", tokens_shape);
  const at::Tensor positions = OwnPositions(all, layout);
  if (method_ == SINUSOIDAL) {
    return (x + Sinusoids(positions)).to(x.scalar_type());
  }
  const at::Tensor& rows = rows_->leaf;
  TORCH_CHECK(positions.is_cuda() || positions.numel() == 0 ||
                  positions.max().item<int64_t>() < rows.size(0),
              "model.position_encoding = LEARNED has rows for ", rows.size(0),
              " places, not for ", tokens_shape);
  return AddLearned::apply(x, rows, positions);
}

// Positions of the tokens in x.
at::Tensor PositionEmbedding::OwnPositions(const at::Tensor& positions_BT,
                                           ActivationLayout layout) const {
  if (layout == ActivationLayout::kReplicated) return positions_BT;
  const int64_t count = positions_BT.numel() / tensor_axis_.size();
  return positions_BT.reshape({-1}).narrow(0, tensor_axis_.rank() * count,
                                           count);
}

// Column 2i is sin(n theta_i), column 2i + 1 cos(n theta_i), theta_i =
// 10000^(-2i / C) (Vaswani et al. 2017, section 3.5): in fp64, which is exact
// to 1e-9 up to n = 10^7.
at::Tensor PositionEmbedding::Sinusoids(const at::Tensor& positions) const {
  const at::Tensor i =
      at::arange(width_ / 2, positions.options().dtype(at::kDouble));
  const at::Tensor angles = positions.to(at::kDouble).unsqueeze(-1) *
                            (i * (-2 * std::log(10000.0) / width_)).exp();
  return at::stack({angles.sin(), angles.cos()}, -1).flatten(-2);
}

std::vector<Parameter*> PositionEmbedding::parameters() {
  if (!rows_) return {};
  return {&*rows_};
}

}  // namespace lextra
