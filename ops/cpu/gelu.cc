#include "ops/cpu/gelu.h"

#include <cmath>
#include <numbers>

#include "base/vector_clones.h"
#include "ops/cpu/vector_exp.h"

namespace lextra {
namespace {

// sqrt(2 pi) times the normal density, and its integral up to x.
template <typename Scalar>
struct Normal {
  Scalar density;
  Scalar integral;
};

LEXTRA_ALWAYS_INLINE Normal<float> NormalAt(float x) {
  const float z = std::abs(x) * float(1 / std::numbers::sqrt2);
  const float t = 1 / (1 + 0.3275911f * z);
  const float polynomial =
      t * (0.254829592f +
           t * (-0.284496736f +
                t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float density = Exponential(-z * z);
  const float tail = 0.5f * polynomial * density;
  return {density, x < 0 ? tail : 1 - tail};
}

LEXTRA_ALWAYS_INLINE Normal<double> NormalAt(double x) {
  return {std::exp(-0.5 * x * x), 0.5 * std::erfc(-x / std::numbers::sqrt2)};
}

}  // namespace

template <typename Scalar>
LEXTRA_VECTOR_CLONES void Gelu(const Scalar* x, int64_t count, Scalar* y) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * NormalAt(x[i]).integral;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void GeluWithDerivative(Scalar* x, int64_t count,
                                             Scalar* y) {
  constexpr Scalar kFactor =
      Scalar(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const Scalar x_i = x[i];
    const Normal<Scalar> normal = NormalAt(x_i);
    y[i] = x_i * normal.integral;
    x[i] = normal.integral + kFactor * x_i * normal.density;
  }
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void GeluGradientRow(const Scalar* dy,
                                          const Scalar* derivative,
                                          int64_t columns, Scalar* dx,
                                          Scalar* sums) {
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    dx[i] = dy[i] * derivative[i];
    sums[i] += dx[i];
  }
}

#define LEXTRA_INSTANTIATE(Scalar)                                     \
  template void Gelu(const Scalar*, int64_t, Scalar*);                 \
  template void GeluWithDerivative(Scalar*, int64_t, Scalar*);         \
  template void GeluGradientRow(const Scalar*, const Scalar*, int64_t, \
                                Scalar*, Scalar*)
LEXTRA_INSTANTIATE(float);
LEXTRA_INSTANTIATE(double);
#undef LEXTRA_INSTANTIATE

}  // namespace lextra
