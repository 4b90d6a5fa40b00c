// The passes of layer and RMS norm over rows [N, C], on the rows' device. fp32,
// fp64, or bf16 rows and parameters with fp32 statistics.
#ifndef LEXTRA_MODEL_NORM_PASSES_H_
#define LEXTRA_MODEL_NORM_PASSES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parallel/communicator.h"

namespace lextra {

// The rows, as both passes need them. All tensors are contiguous.
struct NormRows {
  at::Tensor x_NC;
  at::Tensor weight;
  at::Tensor mean_N;  // stays 0 for RMS norm
  at::Tensor rstd_N;  // 1 / sqrt(variance + epsilon)
  bool centered;
  Communicator* split_over;  // null: rows are whole

  int64_t width() const {
    return x_NC.size(1) * (split_over == nullptr ? 1 : split_over->size());
  }
};

struct NormForward {
  at::Tensor addend_NC;  // with branch_NC: x = addend + branch is set first,
  at::Tensor branch_NC;  // in the same pass; rows are whole then
  at::Tensor bias;       // undefined: none
  double epsilon;
  at::Tensor y_NC;
};
// Sets y, mean and rstd.
void Normalize(const NormRows& rows, const NormForward& pass);

struct NormBackward {
  at::Tensor dy_NC;
  at::Tensor dx_from_residual_NC;  // added to dx; undefined: nothing
  at::Tensor dx_NC;
};
// Sets dx; returns the gradients of weight and bias, each summed over blocks of
// rows: [blocks, 2, C] in the dtype of the statistics. The order of all
// additions is fixed.
at::Tensor NormalizeGradient(const NormRows& rows, const NormBackward& pass);

// The same with the CUDA kernels (required for CUDA tensors).
void NormalizeOnGpu(const NormRows& rows, const NormForward& pass);
at::Tensor NormalizeGradientOnGpu(const NormRows& rows,
                                  const NormBackward& pass);

}  // namespace lextra

#endif  // LEXTRA_MODEL_NORM_PASSES_H_
