// GELU in the erf form, x Phi(x) with Phi the normal distribution's integral
// (Hendrycks and Gimpel 2016), on rows in the cache. For float Phi is formula
// 7.1.26 of Abramowitz and Stegun, within 8e-8; for double it is the C
// library's. Instances for float and double.
#ifndef LEXTRA_OPS_CPU_GELU_H_
#define LEXTRA_OPS_CPU_GELU_H_

#include <cstdint>

namespace lextra {

// y = gelu(x); y may be x.
template <typename Scalar>
void Gelu(const Scalar* x, int64_t count, Scalar* y);

// y = gelu(x) and x <- gelu'(x), which is all that the gradient needs.
template <typename Scalar>
void GeluWithDerivative(Scalar* x, int64_t count, Scalar* y);

// dx = dy * derivative, and sums += dx: one row, and the column sums.
template <typename Scalar>
void GeluGradientRow(const Scalar* dy, const Scalar* derivative,
                     int64_t columns, Scalar* dx, Scalar* sums);

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_GELU_H_
