// The dtypes of CUDA kernels.
#ifndef LEXTRA_OPS_CUDA_ELEMENT_TYPE_H_
#define LEXTRA_OPS_CUDA_ELEMENT_TYPE_H_

namespace lextra {

enum class ElementType { kFloat, kDouble, kBFloat16 };

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_ELEMENT_TYPE_H_
