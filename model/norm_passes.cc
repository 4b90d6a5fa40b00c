#include "model/norm_passes.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "ops/cpu/norm.h"
#include "ops/row_blocks.h"

// Legend: N rows, C columns on this rank.
namespace lextra {
namespace {

// A pass over rows begin .. end - 1, and the tensor, if any, whose sum over the
// ranks the next stage needs.
struct Stage {
  std::function<void(int64_t begin, int64_t end)> run;
  at::Tensor sums;
};

// If rows are whole, each block goes through all stages while it is in the
// cache.
void RunStages(int64_t rows, Communicator* split_over,
               const std::vector<Stage>& stages) {
  if (split_over == nullptr) {
    ForEachRowBlock(rows, [&](int64_t begin, int64_t end) {
      for (const Stage& stage : stages) stage.run(begin, end);
    });
    return;
  }
  for (const Stage& stage : stages) {
    ForEachRowBlock(rows, stage.run);
    if (stage.sums.defined()) {
      split_over->AllReduce(stage.sums, ReduceOp::kSum);
    }
  }
}

template <typename Element, typename Compute = at::opmath_type<Element>>
void Forward(const NormRows& rows, const NormForward& pass) {
  const int64_t columns = rows.x_NC.size(1);
  const auto width = static_cast<Compute>(rows.width());
  const auto epsilon = static_cast<Compute>(pass.epsilon);
  const Element* x = rows.x_NC.const_data_ptr<Element>();
  const Element* w = rows.weight.const_data_ptr<Element>();
  const Element* b =
      pass.bias.defined() ? pass.bias.const_data_ptr<Element>() : nullptr;
  Compute* mean = rows.mean_N.mutable_data_ptr<Compute>();
  Compute* rstd = rows.rstd_N.mutable_data_ptr<Compute>();
  Element* y = pass.y_NC.mutable_data_ptr<Element>();

  const auto means = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      mean[n] = RowSum<Element, Compute>(x + n * columns, columns) / width;
    }
  };
  const auto variances = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      rstd[n] = RowSquares(x + n * columns, mean[n], columns) / width;
    }
  };
  const auto normalize = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      rstd[n] = 1 / std::sqrt(rstd[n] + epsilon);
      NormalizeRow(x + n * columns, mean[n], rstd[n], w, b, columns,
                   y + n * columns);
    }
  };
  std::vector<Stage> stages;
  if (pass.branch_NC.defined()) {
    stages.push_back(
        {[columns, addend = pass.addend_NC.const_data_ptr<Element>(),
          branch = pass.branch_NC.const_data_ptr<Element>(),
          sum = rows.x_NC.mutable_data_ptr<Element>()](int64_t begin,
                                                       int64_t end) {
           AddRows(addend + begin * columns, branch + begin * columns,
                   (end - begin) * columns, sum + begin * columns);
         },
         {}});
  }
  if (rows.centered) stages.push_back({means, rows.mean_N});
  stages.push_back({variances, rows.rstd_N});
  stages.push_back({normalize, {}});
  RunStages(rows.x_NC.size(0), rows.split_over, stages);
}

template <typename Element, typename Compute = at::opmath_type<Element>>
at::Tensor Backward(const NormRows& rows, const NormBackward& pass) {
  const int64_t num_rows = rows.x_NC.size(0);
  const int64_t columns = rows.x_NC.size(1);
  const auto width = static_cast<Compute>(rows.width());
  const Element* x = rows.x_NC.const_data_ptr<Element>();
  const Element* w = rows.weight.const_data_ptr<Element>();
  const Compute* mean = rows.mean_N.const_data_ptr<Compute>();
  const Compute* rstd = rows.rstd_N.const_data_ptr<Compute>();
  const Element* dy = pass.dy_NC.const_data_ptr<Element>();
  const Element* dx_from_residual =
      pass.dx_from_residual_NC.defined()
          ? pass.dx_from_residual_NC.const_data_ptr<Element>()
          : nullptr;
  Element* dx = pass.dx_NC.mutable_data_ptr<Element>();
  const at::Tensor sums_N2 = at::empty({num_rows, 2}, rows.rstd_N.options());
  Compute* sums = sums_N2.mutable_data_ptr<Compute>();
  const at::Tensor blocks =
      at::zeros({NumBlocks(num_rows), 2, columns}, rows.rstd_N.options());
  Compute* dparameters = blocks.mutable_data_ptr<Compute>();

  const auto gradient_sums = [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      RowGradientSums(x + n * columns, dy + n * columns, mean[n], rstd[n], w,
                      columns, &sums[2 * n], &sums[2 * n + 1]);
    }
  };
  const auto gradient = [=, centered = rows.centered](int64_t begin,
                                                      int64_t end) {
    Compute* dweight = dparameters + begin / kBlockRows * 2 * columns;
    for (int64_t n = begin; n < end; ++n) {
      RowGradient<Element, Compute>(
          x + n * columns, dy + n * columns, mean[n], rstd[n], w,
          centered ? sums[2 * n] / width : 0, sums[2 * n + 1] / width, columns,
          dx + n * columns, dweight, dweight + columns);
      // A separate loop, so that no multiplication is fused with the addition:
      // the result is bitwise autograd's sum of the two.
      if (dx_from_residual != nullptr) {
        AddRows(dx + n * columns, dx_from_residual + n * columns, columns,
                dx + n * columns);
      }
    }
  };
  RunStages(num_rows, rows.split_over,
            {{gradient_sums, sums_N2}, {gradient, {}}});
  return blocks;
}

}  // namespace

void Normalize(const NormRows& rows, const NormForward& pass) {
  RECORD_USER_SCOPE("norm: Normalize");
  if (rows.x_NC.is_cuda()) return NormalizeOnGpu(rows, pass);
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, rows.x_NC.scalar_type(),
                                 "Normalize",
                                 [&] { Forward<scalar_t>(rows, pass); });
}

at::Tensor NormalizeGradient(const NormRows& rows, const NormBackward& pass) {
  RECORD_USER_SCOPE("norm: NormalizeGradient");
  if (rows.x_NC.is_cuda()) return NormalizeGradientOnGpu(rows, pass);
  return AT_DISPATCH_FLOATING_TYPES_AND(
      at::kBFloat16, rows.x_NC.scalar_type(), "NormalizeGradient",
      [&] { return Backward<scalar_t>(rows, pass); });
}

}  // namespace lextra
