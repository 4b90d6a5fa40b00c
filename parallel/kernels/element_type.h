// The dtypes that kernels on a GPU take.
#ifndef LEXTRA_PARALLEL_KERNELS_ELEMENT_TYPE_H_
#define LEXTRA_PARALLEL_KERNELS_ELEMENT_TYPE_H_

namespace lextra {

enum class ElementType { kFloat, kDouble, kBFloat16 };

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_KERNELS_ELEMENT_TYPE_H_
