// RotatePairs (ops/cpu/rotary.h) on a GPU.
#ifndef LEXTRA_OPS_CUDA_ROTARY_H_
#define LEXTRA_OPS_CUDA_ROTARY_H_

#include <cstdint>

#include "ops/cuda/element_type.h"
#include "ops/head_view.h"

namespace lextra {

// Device pointers. Tables are double for double elements, else float.
struct RotatePairsCuda {
  static constexpr char kName[] = "rotate_pairs";
  ElementType type;
  HeadVectors<const void> in;
  HeadVectors<void> out;  // may be `in`
  const void* cos;        // [places, head_dim / 2]
  const void* sin;
  int64_t batch;
  int64_t places;
  int64_t heads;
  int64_t head_dim;
  bool transposed;
};
const char* LaunchRotatePairs(const RotatePairsCuda& arguments, void* stream);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_ROTARY_H_
