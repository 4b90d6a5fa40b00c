#include "ops/cpu/norm.h"

#include <c10/util/BFloat16.h>

#include "base/vector_clones.h"

namespace lextra {

template <typename Element>
LEXTRA_VECTOR_CLONES void AddRows(const Element* a, const Element* b,
                                  int64_t columns, Element* out) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) out[c] = a[c] + b[c];
}

template <typename Element, typename Compute>
LEXTRA_VECTOR_CLONES Compute RowSum(const Element* x, int64_t columns) {
  Compute sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < columns; ++c) sum += static_cast<Compute>(x[c]);
  return sum;
}

template <typename Element, typename Compute>
LEXTRA_VECTOR_CLONES Compute RowSquares(const Element* x, Compute mean,
                                        int64_t columns) {
  Compute sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < columns; ++c) {
    const Compute difference = static_cast<Compute>(x[c]) - mean;
    sum += difference * difference;
  }
  return sum;
}

template <typename Element, typename Compute>
LEXTRA_VECTOR_CLONES void NormalizeRow(const Element* x, Compute mean,
                                       Compute rstd, const Element* weight,
                                       const Element* bias, int64_t columns,
                                       Element* y) {
  if (bias == nullptr) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      y[c] = static_cast<Element>((static_cast<Compute>(x[c]) - mean) * rstd *
                                  static_cast<Compute>(weight[c]));
    }
    return;
  }
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    y[c] = static_cast<Element>((static_cast<Compute>(x[c]) - mean) * rstd *
                                    static_cast<Compute>(weight[c]) +
                                static_cast<Compute>(bias[c]));
  }
}

template <typename Element, typename Compute>
LEXTRA_VECTOR_CLONES void RowGradientSums(const Element* x, const Element* dy,
                                          Compute mean, Compute rstd,
                                          const Element* weight,
                                          int64_t columns, Compute* sum_g,
                                          Compute* sum_g_xhat) {
  Compute sum = 0;
  Compute product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (int64_t c = 0; c < columns; ++c) {
    const Compute g =
        static_cast<Compute>(dy[c]) * static_cast<Compute>(weight[c]);
    sum += g;
    product += g * (static_cast<Compute>(x[c]) - mean);
  }
  *sum_g = sum;
  *sum_g_xhat = product * rstd;
}

template <typename Element, typename Compute>
LEXTRA_VECTOR_CLONES void RowGradient(const Element* x, const Element* dy,
                                      Compute mean, Compute rstd,
                                      const Element* weight, Compute mean_g,
                                      Compute mean_g_xhat, int64_t columns,
                                      Element* dx, Compute* dweight,
                                      Compute* dbias) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    const Compute xhat = (static_cast<Compute>(x[c]) - mean) * rstd;
    const Compute dy_c = static_cast<Compute>(dy[c]);
    dx[c] =
        static_cast<Element>(rstd * (dy_c * static_cast<Compute>(weight[c]) -
                                     mean_g - xhat * mean_g_xhat));
    dweight[c] += dy_c * xhat;
    dbias[c] += dy_c;
  }
}

#define LEXTRA_INSTANTIATE(Element, Compute)                                   \
  template void AddRows(const Element*, const Element*, int64_t, Element*);    \
  template Compute RowSum<Element, Compute>(const Element*, int64_t);          \
  template Compute RowSquares(const Element*, Compute, int64_t);               \
  template void NormalizeRow(const Element*, Compute, Compute, const Element*, \
                             const Element*, int64_t, Element*);               \
  template void RowGradientSums(const Element*, const Element*, Compute,       \
                                Compute, const Element*, int64_t, Compute*,    \
                                Compute*);                                     \
  template void RowGradient(const Element*, const Element*, Compute, Compute,  \
                            const Element*, Compute, Compute, int64_t,         \
                            Element*, Compute*, Compute*)
LEXTRA_INSTANTIATE(float, float);
LEXTRA_INSTANTIATE(double, double);
LEXTRA_INSTANTIATE(c10::BFloat16, float);
#undef LEXTRA_INSTANTIATE

}  // namespace lextra
