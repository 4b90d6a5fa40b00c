#include "model/norm.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
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

// Calls visit(first row, end) for all blocks of rows, in parallel.
template <typename Visit>
void ForEachBlock(int64_t rows, const Visit& visit) {
  at::parallel_for(0, NumBlocks(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      visit(block * kBlockRows, std::min(rows, (block + 1) * kBlockRows));
    }
  });
}

void SumOver(Communicator* split_over, const at::Tensor& sums) {
  if (split_over != nullptr) split_over->AllReduce(sums, ReduceOp::kSum);
}

class Normalise : public torch::autograd::Function<Normalise> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& weight, const at::Tensor& bias,
                            bool centred, double epsilon,
                            Communicator* split_over) {
    const at::Tensor x_NC = x.reshape({-1, weight.size(0)}).contiguous();
    const at::Tensor mean_N = at::zeros({x_NC.size(0)}, x.options());
    const at::Tensor rstd_N = at::zeros({x_NC.size(0)}, x.options());
    const at::Tensor y_NC = at::empty_like(x_NC);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "Normalise", [&] {
      const int64_t rows = x_NC.size(0);
      const int64_t columns = x_NC.size(1);
      const auto width = static_cast<scalar_t>(
          columns * (split_over == nullptr ? 1 : split_over->size()));
      const scalar_t* x_data = x_NC.const_data_ptr<scalar_t>();
      const scalar_t* weights = weight.const_data_ptr<scalar_t>();
      const scalar_t* biases =
          bias.defined() ? bias.const_data_ptr<scalar_t>() : nullptr;
      scalar_t* mean = mean_N.mutable_data_ptr<scalar_t>();
      scalar_t* rstd = rstd_N.mutable_data_ptr<scalar_t>();
      scalar_t* y = y_NC.mutable_data_ptr<scalar_t>();

      if (centred) {
        ForEachBlock(rows, [&](int64_t begin, int64_t end) {
          for (int64_t n = begin; n < end; ++n) {
            mean[n] = RowSum(x_data + n * columns, columns) / width;
          }
        });
        SumOver(split_over, mean_N);
      }
      ForEachBlock(rows, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          rstd[n] = RowSquares(x_data + n * columns, mean[n], columns) / width;
        }
      });
      SumOver(split_over, rstd_N);
      ForEachBlock(rows, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          rstd[n] = 1 / std::sqrt(rstd[n] + static_cast<scalar_t>(epsilon));
          NormaliseRow(x_data + n * columns, mean[n], rstd[n], weights, biases,
                       columns, y + n * columns);
        }
      });
    });
    context->save_for_backward({x_NC, weight, bias, mean_N, rstd_N});
    context->saved_data["centred"] = centred;
    context->saved_data["split_over"] = reinterpret_cast<int64_t>(split_over);
    return y_NC.view(x.sizes());
  }
};

}  // namespace
}  // namespace lextra
