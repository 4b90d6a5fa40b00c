// The dtype of a tensor as the kernels name it.
#ifndef LEXTRA_MODEL_KERNELS_ELEMENT_TYPE_OF_H_
#define LEXTRA_MODEL_KERNELS_ELEMENT_TYPE_OF_H_

#include <ATen/core/Tensor.h>

#include "model/kernels/element_type.h"

namespace lextra {

inline ElementType ElementTypeOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ElementType::kFloat;
    case at::kDouble:
      return ElementType::kDouble;
    case at::kBFloat16:
      return ElementType::kBFloat16;
    default:
      TORCH_CHECK(false, "no kernel for ", tensor.scalar_type());
  }
}

}  // namespace lextra

#endif  // LEXTRA_MODEL_KERNELS_ELEMENT_TYPE_OF_H_
