#include "model/kernels/normalise_rows.h"

#include "model/kernels/vector_clones.h"

namespace lextra {

template <typename Scalar>
LEXTRA_VECTOR_CLONES Scalar RowSum(const Scalar* x, int64_t columns) {
  Scalar sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < columns; ++c) sum += x[c];
  return sum;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES Scalar RowSquares(const Scalar* x, Scalar mean,
                                       int64_t columns) {
  Scalar sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < columns; ++c) sum += (x[c] - mean) * (x[c] - mean);
  return sum;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void NormaliseRow(const Scalar* x, Scalar mean,
                                       Scalar rstd, const Scalar* weight,
                                       const Scalar* bias, int64_t columns,
                                       Scalar* y) {
  if (bias == nullptr) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      y[c] = (x[c] - mean) * rstd * weight[c];
    }
    return;
  }
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    y[c] = (x[c] - mean) * rstd * weight[c] + bias[c];
  }
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void RowGradientSums(const Scalar* x, const Scalar* dy,
                                          Scalar mean, Scalar rstd,
                                          const Scalar* weight, int64_t columns,
                                          Scalar* sum_g, Scalar* sum_g_xhat) {
  Scalar sum = 0;
  Scalar product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (int64_t c = 0; c < columns; ++c) {
    const Scalar g = dy[c] * weight[c];
    sum += g;
    product += g * (x[c] - mean);
  }
  *sum_g = sum;
  *sum_g_xhat = product * rstd;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void RowGradient(const Scalar* x, const Scalar* dy,
                                      Scalar mean, Scalar rstd,
                                      const Scalar* weight, Scalar mean_g,
                                      Scalar mean_g_xhat, int64_t columns,
                                      Scalar* dx, Scalar* dweight,
                                      Scalar* dbias) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    const Scalar xhat = (x[c] - mean) * rstd;
    dx[c] = rstd * (dy[c] * weight[c] - mean_g - xhat * mean_g_xhat);
    dweight[c] += dy[c] * xhat;
    dbias[c] += dy[c];
  }
}

template float RowSum(const float*, int64_t);
template double RowSum(const double*, int64_t);
template float RowSquares(const float*, float, int64_t);
template double RowSquares(const double*, double, int64_t);
template void NormaliseRow(const float*, float, float, const float*,
                           const float*, int64_t, float*);
template void NormaliseRow(const double*, double, double, const double*,
                           const double*, int64_t, double*);
template void RowGradientSums(const float*, const float*, float, float,
                              const float*, int64_t, float*, float*);
template void RowGradientSums(const double*, const double*, double, double,
                              const double*, int64_t, double*, double*);
template void RowGradient(const float*, const float*, float, float,
                          const float*, float, float, int64_t, float*, float*,
                          float*);
template void RowGradient(const double*, const double*, double, double,
                          const double*, double, double, int64_t, double*,
                          double*, double*);

}  // namespace lextra
