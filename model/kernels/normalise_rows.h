// What layer and RMS norm do to one row of C numbers, on CPUs. With
// xhat = (x - mean) rstd and g = dy w (RMS norm: mean = 0):
//   y  = xhat w + b
//   dx = rstd (g - mean over C of g - xhat * mean over C of g xhat).
// Sums of a row are apart from their use, because a row may be spread over
// ranks. Instances for float and double.
#ifndef LEXTRA_MODEL_KERNELS_NORMALISE_ROWS_H_
#define LEXTRA_MODEL_KERNELS_NORMALISE_ROWS_H_

#include <cstdint>

namespace lextra {

template <typename Scalar>
Scalar RowSum(const Scalar* x, int64_t columns);

// The sum of (x - mean)^2.
template <typename Scalar>
Scalar RowSquares(const Scalar* x, Scalar mean, int64_t columns);

// `bias` may be null.
template <typename Scalar>
void NormaliseRow(const Scalar* x, Scalar mean, Scalar rstd,
                  const Scalar* weight, const Scalar* bias, int64_t columns,
                  Scalar* y);

// The sums of g and of g xhat.
template <typename Scalar>
void RowGradientSums(const Scalar* x, const Scalar* dy, Scalar mean,
                     Scalar rstd, const Scalar* weight, int64_t columns,
                     Scalar* sum_g, Scalar* sum_g_xhat);

// Sets dx, and adds the row to dweight and dbias.
template <typename Scalar>
void RowGradient(const Scalar* x, const Scalar* dy, Scalar mean, Scalar rstd,
                 const Scalar* weight, Scalar mean_g, Scalar mean_g_xhat,
                 int64_t columns, Scalar* dx, Scalar* dweight, Scalar* dbias);

}  // namespace lextra

#endif  // LEXTRA_MODEL_KERNELS_NORMALISE_ROWS_H_
