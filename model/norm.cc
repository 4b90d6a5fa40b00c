#include "model/norm.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "model/kernels/normalise_rows.h"

// Legend: N rows, C columns on this rank.
namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows whose weight gradients are added one after the other; the sums of such
// blocks are added in their order, whatever thread made them.
constexpr int64_t kBlockRows = 64;

int64_t NumBlocks(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }

// A pass over rows begin .. end - 1, and the tensor, if any, whose sum over the
// ranks the next stage needs.
struct Stage {
  std::function<void(int64_t begin, int64_t end)> run;
  at::Tensor sums;
};

// Without ranks to wait for, each block goes through all stages while it is in
// the cache.
void RunStages(int64_t rows, Communicator* split_over,
               const std::vector<Stage>& stages) {
  const auto for_each_block = [&](const auto& visit) {
    at::parallel_for(0, NumBlocks(rows), 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        visit(block * kBlockRows, std::min(rows, (block + 1) * kBlockRows));
      }
    });
  };
  if (split_over == nullptr) {
    for_each_block([&](int64_t begin, int64_t end) {
      for (const Stage& stage : stages) stage.run(begin, end);
    });
    return;
  }
  for (const Stage& stage : stages) {
    for_each_block(stage.run);
    if (stage.sums.defined()) {
      split_over->AllReduce(stage.sums, ReduceOp::kSum);
    }
  }
}

// What both passes know of the rows.
struct Rows {
  at::Tensor x_NC;
  at::Tensor weight;
  at::Tensor mean_N;  // stays 0 for RMS norm
  at::Tensor rstd_N;  // 1 / sqrt(variance + epsilon)
  bool centred;
  Communicator* split_over;  // null: rows are whole

  int64_t width() const {
    return x_NC.size(1) * (split_over == nullptr ? 1 : split_over->size());
  }
};

template <typename Scalar>
void Forward(const Rows& rows, const at::Tensor& bias, double epsilon,
             const at::Tensor& y_NC) {
  const int64_t columns = rows.x_NC.size(1);
  const auto width = static_cast<Scalar>(rows.width());
  const Scalar* x = rows.x_NC.const_data_ptr<Scalar>();
  const Scalar* w = rows.weight.const_data_ptr<Scalar>();
  const Scalar* b = bias.defined() ? bias.const_data_ptr<Scalar>() : nullptr;
  Scalar* mean = rows.mean_N.mutable_data_ptr<Scalar>();
  Scalar* rstd = rows.rstd_N.mutable_data_ptr<Scalar>();
  Scalar* y = y_NC.mutable_data_ptr<Scalar>();

  const auto means = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      mean[n] = RowSum(x + n * columns, columns) / width;
    }
  };
  const auto variances = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      rstd[n] = RowSquares(x + n * columns, mean[n], columns) / width;
    }
  };
  const auto normalise = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      rstd[n] = 1 / std::sqrt(rstd[n] + static_cast<Scalar>(epsilon));
      NormaliseRow(x + n * columns, mean[n], rstd[n], w, b, columns,
                   y + n * columns);
    }
  };
  std::vector<Stage> stages;
  if (rows.centred) stages.push_back({means, rows.mean_N});
  stages.push_back({variances, rows.rstd_N});
  stages.push_back({normalise, {}});
  RunStages(rows.x_NC.size(0), rows.split_over, stages);
}

// Sets dx; gives the weight's and the bias's gradients of each block of rows,
// [blocks, 2, C].
template <typename Scalar>
at::Tensor Backward(const Rows& rows, const at::Tensor& dy_NC,
                    const at::Tensor& dx_NC) {
  const int64_t num_rows = rows.x_NC.size(0);
  const int64_t columns = rows.x_NC.size(1);
  const auto width = static_cast<Scalar>(rows.width());
  const Scalar* x = rows.x_NC.const_data_ptr<Scalar>();
  const Scalar* w = rows.weight.const_data_ptr<Scalar>();
  const Scalar* mean = rows.mean_N.const_data_ptr<Scalar>();
  const Scalar* rstd = rows.rstd_N.const_data_ptr<Scalar>();
  const Scalar* dy = dy_NC.const_data_ptr<Scalar>();
  Scalar* dx = dx_NC.mutable_data_ptr<Scalar>();
  const at::Tensor sums_N2 = at::empty({num_rows, 2}, rows.x_NC.options());
  Scalar* sums = sums_N2.mutable_data_ptr<Scalar>();
  const at::Tensor blocks =
      at::zeros({NumBlocks(num_rows), 2, columns}, rows.x_NC.options());
  Scalar* dparameters = blocks.mutable_data_ptr<Scalar>();

  const auto gradient_sums = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      RowGradientSums(x + n * columns, dy + n * columns, mean[n], rstd[n], w,
                      columns, &sums[2 * n], &sums[2 * n + 1]);
    }
  };
  const auto gradient = [=, centred = rows.centred](int64_t begin,
                                                    int64_t end) {
    Scalar* dweight = dparameters + begin / kBlockRows * 2 * columns;
    for (int64_t n = begin; n < end; ++n) {
      RowGradient(x + n * columns, dy + n * columns, mean[n], rstd[n], w,
                  centred ? sums[2 * n] / width : 0, sums[2 * n + 1] / width,
                  columns, dx + n * columns, dweight, dweight + columns);
    }
  };
  RunStages(num_rows, rows.split_over,
            {{gradient_sums, sums_N2}, {gradient, {}}});
  return blocks;
}

class Normalise : public torch::autograd::Function<Normalise> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, bool centred,
                            double epsilon, Communicator* split_over) {
    const at::Tensor x_NC = x.reshape({-1, weight.size(0)}).contiguous();
    const Rows rows = {.x_NC = x_NC,
                       .weight = weight,
                       .mean_N = at::zeros({x_NC.size(0)}, x.options()),
                       .rstd_N = at::zeros({x_NC.size(0)}, x.options()),
                       .centred = centred,
                       .split_over = split_over};
    const at::Tensor y_NC = at::empty_like(x_NC);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "Normalise", [&] {
      Forward<scalar_t>(rows, bias.value_or(at::Tensor()), epsilon, y_NC);
    });
    context->save_for_backward(
        {x_NC, weight, bias.value_or(at::Tensor()), rows.mean_N, rows.rstd_N});
    context->saved_data["centred"] = centred;
    context->saved_data["split_over"] = reinterpret_cast<int64_t>(split_over);
    return y_NC.view(x.sizes());
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Rows rows = {.x_NC = saved[0],
                       .weight = saved[1],
                       .mean_N = saved[3],
                       .rstd_N = saved[4],
                       .centred = context->saved_data["centred"].toBool(),
                       .split_over = reinterpret_cast<Communicator*>(
                           context->saved_data["split_over"].toInt())};
    const at::Tensor& bias = saved[2];
    const at::Tensor dy_NC =
        gradients[0].reshape(rows.x_NC.sizes()).contiguous();
    const at::Tensor dx_NC = at::empty_like(dy_NC);
    at::Tensor blocks;
    AT_DISPATCH_FLOATING_TYPES(dy_NC.scalar_type(), "NormaliseBackward", [&] {
      blocks = Backward<scalar_t>(rows, dy_NC, dx_NC);
    });
    if (context->needs_input_grad(1)) {
      GradientOf(rows.weight).add_(blocks.select(1, 0).sum(0));
    }
    if (bias.defined() && context->needs_input_grad(2)) {
      GradientOf(bias).add_(blocks.select(1, 1).sum(0));
    }
    return {dx_NC.view(gradients[0].sizes()),
            at::Tensor(),
            at::Tensor(),
            at::Tensor(),
            at::Tensor(),
            at::Tensor()};
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
              " does not divide among ", num_ranks, " tensor ranks");
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
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == weight_.leaf.size(0),
              weight_.pieces[0].name, ": input of shape ", x.sizes(),
              ", this rank's weight is ", weight_.leaf.sizes());
  const auto bias =
      bias_.leaf.defined() ? std::optional(bias_.leaf) : std::nullopt;
  return Normalise::apply(x, weight_.leaf, bias, kind_ == LAYER_NORM, epsilon_,
                          split_over_);
}

std::vector<Parameter*> NormLayer::parameters() {
  if (!bias_.leaf.defined()) return {&weight_};
  return {&weight_, &bias_};
}

}  // namespace lextra
