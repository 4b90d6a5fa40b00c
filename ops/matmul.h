// Matrix products and sums of tensors; bfloat16 is summed in fp32.
#ifndef LEXTRA_OPS_MATMUL_H_
#define LEXTRA_OPS_MATMUL_H_

#include <ATen/core/Tensor.h>

#include "ops/cpu/matmul.h"

namespace lextra {

// The dtype of sums, statistics and losses for tensors of `dtype`: fp64 for
// fp64, otherwise fp32.
at::ScalarType StatisticsType(at::ScalarType dtype);

// out [N, M] <- a [N, K] b [K, M] (adds: out + a b), where out has the dtype of
// a and b, or of their statistics: then the product is not rounded to bfloat16.
// `bias` [M] is added to each row; finish_rows is called for all rows, on CPUs
// in blocks that are in the cache. On CPUs by our own kernels; any strides, but
// rows of out are contiguous.
void Matmul(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
            const at::Tensor& bias = {},
            const FinishRows& finish_rows = nullptr);
void MatmulAccumulate(const at::Tensor& out, const at::Tensor& a,
                      const at::Tensor& b);

// sums [M] += the columns' sums of rows [N, M], in the dtype of sums.
void AddColumnSums(const at::Tensor& sums, const at::Tensor& rows);

// gradient[places[i]] += rows[i], in the gradient's dtype; places int64 [N],
// rows [N, C].
void IndexAddRows(const at::Tensor& gradient, const at::Tensor& places,
                  const at::Tensor& rows);

}  // namespace lextra

#endif  // LEXTRA_OPS_MATMUL_H_
