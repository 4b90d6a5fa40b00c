// Several neighboring elements of a row at once: 16 bytes per load instead of
// one element.
#ifndef LEXTRA_OPS_CUDA_PACKED_COLUMNS_CUH_
#define LEXTRA_OPS_CUDA_PACKED_COLUMNS_CUH_

#include <cstdint>

#include "ops/cuda/cuda_launch.cuh"

namespace lextra {

template <typename Element>
inline constexpr int kPackSize = 16 / sizeof(Element);

template <typename Element, int kSize>
struct alignas(sizeof(Element) * kSize) Pack {
  Element values[kSize];
};

template <typename Compute, int kSize>
struct Values {
  Compute values[kSize] = {};
  __device__ Compute& operator[](int i) { return values[i]; }
  __device__ const Compute& operator[](int i) const { return values[i]; }
};

template <int kSize, typename Element>
__device__ Values<ComputeType<Element>, kSize> LoadPack(const Element* from) {
  const auto pack = *reinterpret_cast<const Pack<Element, kSize>*>(from);
  Values<ComputeType<Element>, kSize> values;
  for (int i = 0; i < kSize; ++i) {
    values[i] = static_cast<ComputeType<Element>>(pack.values[i]);
  }
  return values;
}

template <int kSize, typename Element, typename Compute>
__device__ void StorePack(const Values<Compute, kSize>& values, Element* to) {
  Pack<Element, kSize> pack;
  for (int i = 0; i < kSize; ++i) {
    pack.values[i] = static_cast<Element>(values[i]);
  }
  *reinterpret_cast<Pack<Element, kSize>*>(to) = pack;
}

// Whether rows of `columns` elements at these addresses (null: absent) are
// whole packs.
template <typename Element, typename... Pointers>
bool ArePacks(int64_t columns, const Pointers*... rows) {
  return columns % kPackSize<Element> == 0 &&
         ((reinterpret_cast<uintptr_t>(rows) % 16 == 0) && ...);
}

// visit(std::integral_constant<int, elements at once>()).
template <typename Element, typename Visit>
const char* DispatchPacks(bool are_packs, Visit visit) {
  return are_packs ? visit(std::integral_constant<int, kPackSize<Element>>())
                   : visit(std::integral_constant<int, 1>());
}

// The sum over the lanes of a warp, on each of them.
template <typename Compute>
__device__ Compute SumOverWarp(Compute value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, distance);
  }
  return value;
}

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_PACKED_COLUMNS_CUH_
