// The upper half of a float, for kernels: stored in 16 bits, computed as float.
// Rounds to nearest, ties to even.
#ifndef LEXTRA_OPS_CUDA_BFLOAT16_CUH_
#define LEXTRA_OPS_CUDA_BFLOAT16_CUH_

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace lextra {

struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  __host__ __device__ explicit BFloat16(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    if (value != value) {
      bits = 0x7fc0;
    } else {
      bits = static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
    }
  }
  __host__ __device__ explicit operator float() const {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
  }
};

// The type in which a kernel computes on elements.
template <typename Element>
struct ComputeTypeOf {
  using Type = Element;
};
template <>
struct ComputeTypeOf<BFloat16> {
  using Type = float;
};
template <typename Element>
using ComputeType = typename ComputeTypeOf<Element>::Type;

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_BFLOAT16_CUH_
