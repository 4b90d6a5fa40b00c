#include <ATen/ops/empty.h>

#include "base/math.h"
#include "model/norm_passes.h"
#include "ops/cuda/norm.h"
#include "ops/cuda_kernel.h"

namespace lextra {
namespace {

const void* DataOrNull(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}

}  // namespace

void NormalizeOnGpu(const NormRows& rows, const NormForward& pass) {
  static const CudaKernel<NormalizeRowsCuda> kernel(
      &CudaKernels::normalize_rows);
  const bool adds = pass.branch_NC.defined();
  NormalizeRowsCuda arguments = {
      .type = ElementTypeOf(rows.x_NC.scalar_type()),
      .stage = NormStage::kAll,
      .x = (adds ? pass.addend_NC : rows.x_NC).const_data_ptr(),
      .branch = DataOrNull(pass.branch_NC),
      .sum = adds ? rows.x_NC.mutable_data_ptr() : nullptr,
      .weight = rows.weight.const_data_ptr(),
      .bias = DataOrNull(pass.bias),
      .mean = rows.mean_N.mutable_data_ptr(),
      .rstd = rows.rstd_N.mutable_data_ptr(),
      .y = pass.y_NC.mutable_data_ptr(),
      .rows = rows.x_NC.size(0),
      .columns = rows.x_NC.size(1),
      .width = rows.width(),
      .centered = rows.centered,
      .epsilon = pass.epsilon};
  const auto run = [&](NormStage stage) {
    arguments.stage = stage;
    kernel(arguments, rows.x_NC.device());
  };
  if (rows.split_over == nullptr) return run(NormStage::kAll);
  if (rows.centered) {
    run(NormStage::kMean);
    rows.split_over->AllReduce(rows.mean_N, ReduceOp::kSum);
  }
  run(NormStage::kVariance);
  rows.split_over->AllReduce(rows.rstd_N, ReduceOp::kSum);
  run(NormStage::kResult);
}

at::Tensor NormalizeGradientOnGpu(const NormRows& rows,
                                  const NormBackward& pass) {
  static const CudaKernel<NormalizeRowsGradientCuda> kernel(
      &CudaKernels::normalize_rows_gradient);
  const int64_t num_rows = rows.x_NC.size(0);
  const int64_t columns = rows.x_NC.size(1);
  const at::Tensor blocks =
      at::empty({CeilDivide(num_rows, kNormRowsPerBlock), 2, columns},
                rows.rstd_N.options());
  NormalizeRowsGradientCuda arguments = {
      .type = ElementTypeOf(rows.x_NC.scalar_type()),
      .stage = NormStage::kAll,
      .x = rows.x_NC.const_data_ptr(),
      .weight = rows.weight.const_data_ptr(),
      .mean = rows.mean_N.const_data_ptr(),
      .rstd = rows.rstd_N.const_data_ptr(),
      .dy = pass.dy_NC.const_data_ptr(),
      .dx_from_residual = DataOrNull(pass.dx_from_residual_NC),
      .dx = pass.dx_NC.mutable_data_ptr(),
      .sums = nullptr,
      .dparameters = blocks.mutable_data_ptr(),
      .rows = num_rows,
      .columns = columns,
      .width = rows.width(),
      .centered = rows.centered};
  if (rows.split_over == nullptr) {
    kernel(arguments, rows.x_NC.device());
    return blocks;
  }
  const at::Tensor sums_N2 = at::empty({num_rows, 2}, rows.rstd_N.options());
  arguments.sums = sums_N2.mutable_data_ptr();
  arguments.stage = NormStage::kGradientSums;
  kernel(arguments, rows.x_NC.device());
  rows.split_over->AllReduce(sums_N2, ReduceOp::kSum);
  arguments.stage = NormStage::kResult;
  kernel(arguments, rows.x_NC.device());
  return blocks;
}

}  // namespace lextra
