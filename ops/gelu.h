// GELU of a linear layer's output, computed while its rows are in the cache.
#ifndef LEXTRA_OPS_GELU_H_
#define LEXTRA_OPS_GELU_H_

#include <ATen/core/Tensor.h>

namespace lextra {

struct GeluProduct {
  at::Tensor y;
  // For GeluGradient: of h = a b + bias, gelu'(h) on CPUs in fp32 and fp64,
  // else h itself. Undefined if no gradient is needed.
  at::Tensor saved;
};

// y [N, M] = gelu(a [N, K] b [K, M] + bias [M] or undefined), GELU in the erf
// form.
GeluProduct GeluOfProduct(const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& bias, bool with_gradient);

// The gradient of h [N, M] from dy; adds its column sums to dbias, if defined.
at::Tensor GeluGradient(const at::Tensor& dy, const at::Tensor& saved,
                        const at::Tensor& dbias);

}  // namespace lextra

#endif  // LEXTRA_OPS_GELU_H_
