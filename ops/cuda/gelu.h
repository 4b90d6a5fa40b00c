// The gradient of GELU in the erf form on a GPU, and its sums by column: the
// gradient of the bias before it.
#ifndef LEXTRA_OPS_CUDA_GELU_H_
#define LEXTRA_OPS_CUDA_GELU_H_

#include <cstdint>

#include "ops/cuda/element_type.h"

namespace lextra {

// Rows summed by one thread, in order.
constexpr int64_t kGeluRowsPerBlock = 32;

// Device pointers to [rows, columns] elements.
struct GeluGradientCuda {
  static constexpr char kName[] = "gelu_gradient";
  ElementType type;
  const void* h;   // gelu's argument
  const void* dy;  // of gelu(h)
  void* dh;        // may be dy
  // [rows / kGeluRowsPerBlock, columns], rounded up; double for double
  // elements, else float: sums of dh before it is rounded. May be null.
  void* sums;
  int64_t rows;
  int64_t columns;
};
const char* LaunchGeluGradient(const GeluGradientCuda& arguments, void* stream);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_GELU_H_
