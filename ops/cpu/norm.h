// What layer and RMS norm do to one row of C numbers, on CPUs. With
// xhat = (x - mean) rstd and g = dy w (RMS norm: mean = 0):
//   y  = xhat w + b
//   dx = rstd (g - mean over C of g - xhat * mean over C of g xhat).
// Sums over a row are separate from their use, because a row may be split over
// ranks. Instances where Element and Compute are both float or both double, and
// where they are c10::BFloat16 and float: statistics and parameters' gradients
// are Compute.
#ifndef LEXTRA_OPS_CPU_NORM_H_
#define LEXTRA_OPS_CPU_NORM_H_

#include <cstdint>

namespace lextra {

// out = a + b; `out` may be one of them.
template <typename Element>
void AddRows(const Element* a, const Element* b, int64_t columns, Element* out);

template <typename Element, typename Compute>
Compute RowSum(const Element* x, int64_t columns);

// The sum of (x - mean)^2.
template <typename Element, typename Compute>
Compute RowSquares(const Element* x, Compute mean, int64_t columns);

// `bias` may be null.
template <typename Element, typename Compute>
void NormalizeRow(const Element* x, Compute mean, Compute rstd,
                  const Element* weight, const Element* bias, int64_t columns,
                  Element* y);

// The sums of g and of g xhat.
template <typename Element, typename Compute>
void RowGradientSums(const Element* x, const Element* dy, Compute mean,
                     Compute rstd, const Element* weight, int64_t columns,
                     Compute* sum_g, Compute* sum_g_xhat);

// Sets dx, and adds the row to dweight and dbias.
template <typename Element, typename Compute>
void RowGradient(const Element* x, const Element* dy, Compute mean,
                 Compute rstd, const Element* weight, Compute mean_g,
                 Compute mean_g_xhat, int64_t columns, Element* dx,
                 Compute* dweight, Compute* dbias);

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_NORM_H_
