// Tensors as views for the kernels.
#ifndef LEXTRA_OPS_HEAD_VIEW_OF_H_
#define LEXTRA_OPS_HEAD_VIEW_OF_H_

#include <ATen/core/Tensor.h>

#include <type_traits>

#include "ops/head_view.h"

namespace lextra {

// x [B, T, H, D], any strides but 1 along D, places at least D apart.
template <typename Scalar>
HeadVectors<Scalar> HeadVectorsOf(const at::Tensor& x) {
  TORCH_CHECK(x.dim() == 4 && (x.stride(3) == 1 || x.size(3) == 1) &&
                  (x.stride(1) >= x.size(3) || x.size(1) <= 1),
              "head vectors must be [B, T, H, D] with stride 1 along D, not ",
              x.sizes(), " with strides ", x.strides());
  using Element = std::remove_const_t<Scalar>;
  Scalar* data;
  if constexpr (std::is_const_v<Scalar>) {
    data = x.const_data_ptr<Element>();
  } else {
    data = x.mutable_data_ptr<Element>();
  }
  // The stride of a single place is meaningless, but BLAS checks it.
  const int64_t place_stride = x.size(1) <= 1 ? x.size(3) : x.stride(1);
  return {data, x.stride(0), place_stride, x.stride(2)};
}

}  // namespace lextra

#endif  // LEXTRA_OPS_HEAD_VIEW_OF_H_
