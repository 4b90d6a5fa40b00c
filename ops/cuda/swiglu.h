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
  static constexpr char kName[] = "swi_glu";
  ElementType type;
  const void* packed;  // [rows, 2 columns]
  void* y;             // [rows, columns]
  int64_t rows;
  int64_t columns;
};
const char* LaunchSwiGlu(const SwiGluCuda& arguments, void* stream);

struct SwiGluGradientCuda {
  static constexpr char kName[] = "swi_glu_gradient";
  ElementType type;
  const void* packed;
  const void* dy;
  void* dpacked;  // [rows, 2 columns]
  int64_t rows;
  int64_t columns;
};
const char* LaunchSwiGluGradient(const SwiGluGradientCuda& arguments,
                                 void* stream);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_SWIGLU_H_
