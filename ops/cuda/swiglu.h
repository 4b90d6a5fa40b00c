// silu(gate) * up and its gradient on a GPU, of rows [gate | up]. With
// s = 1 / (1 + exp(-gate)):
//   y     = gate s up
//   dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s
#ifndef LEXTRA_OPS_CUDA_SWIGLU_H_
#define LEXTRA_OPS_CUDA_SWIGLU_H_

#include <cstdint>

#include "ops/cuda/element_type.h"

namespace lextra {

// Device pointers to contiguous rows.
struct SwiGluCuda {
  ElementType type;
  const void* packed;  // [rows, 2 columns]
  void* y;             // [rows, columns]
  int64_t rows;
  int64_t columns;
};
inline constexpr char kSwiGluCuda[] = "LextraSwiGlu";

struct SwiGluGradientCuda {
  ElementType type;
  const void* packed;
  const void* dy;
  void* dpacked;  // [rows, 2 columns]
  int64_t rows;
  int64_t columns;
};
inline constexpr char kSwiGluGradientCuda[] = "LextraSwiGluGradient";

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_SWIGLU_H_
