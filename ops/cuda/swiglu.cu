// One thread per pack of y.
#include "ops/cuda/packed_columns.cuh"
#include "ops/cuda/swiglu.h"

namespace lextra {
namespace {

// The thread's pack: y at `y`, gate at `gate`, and up `columns` after it.
struct PackPlace {
  template <typename Arguments>
  __device__ PackPlace(const Arguments& a, int pack) {
    y = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * pack;
    gate = y + y / a.columns * a.columns;
    exists = y < a.rows * a.columns;
  }

  int64_t y;
  int64_t gate;
  bool exists;
};

template <typename Compute>
__device__ Compute Sigmoid(Compute x) {
  return 1 / (1 + std::exp(-x));
}

template <typename Element, int kPack>
__global__ void SwiGluKernel(SwiGluCuda a) {
  const PackPlace place(a, kPack);
  if (!place.exists) return;
  const Element* packed = static_cast<const Element*>(a.packed) + place.gate;
  auto values = LoadPack<kPack>(packed);
  const auto up = LoadPack<kPack>(packed + a.columns);
  for (int i = 0; i < kPack; ++i) values[i] *= Sigmoid(values[i]) * up[i];
  StorePack(values, static_cast<Element*>(a.y) + place.y);
}

template <typename Element, int kPack>
__global__ void SwiGluGradientKernel(SwiGluGradientCuda a) {
  using Compute = ComputeType<Element>;
  const PackPlace place(a, kPack);
  if (!place.exists) return;
  const Element* packed = static_cast<const Element*>(a.packed) + place.gate;
  const auto gate = LoadPack<kPack>(packed);
  const auto up = LoadPack<kPack>(packed + a.columns);
  const auto dy = LoadPack<kPack>(static_cast<const Element*>(a.dy) + place.y);
  Values<Compute, kPack> dgate;
  Values<Compute, kPack> dup;
  for (int i = 0; i < kPack; ++i) {
    const Compute s = Sigmoid(gate[i]);
    dgate[i] = dy[i] * up[i] * s * (1 + gate[i] * (1 - s));
    dup[i] = dy[i] * gate[i] * s;
  }
  Element* dpacked = static_cast<Element*>(a.dpacked) + place.gate;
  StorePack(dgate, dpacked);
  StorePack(dup, dpacked + a.columns);
}

template <typename Arguments>
int64_t NumBlocks(const Arguments& a, int pack) {
  const int64_t threads = a.rows * a.columns / pack;
  return (threads + kThreadsPerBlock - 1) / kThreadsPerBlock;
}

}  // namespace

const char* LaunchSwiGlu(const SwiGluCuda& arguments, void* stream) {
  const SwiGluCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    return DispatchPacks<Element>(
        ArePacks<Element>(a.columns, a.packed, a.y), [&](auto pack) {
          constexpr int kPack = decltype(pack)::value;
          return LaunchKernel(SwiGluKernel<Element, kPack>, NumBlocks(a, kPack),
                              kThreadsPerBlock, stream, a);
        });
  });
}

const char* LaunchSwiGluGradient(const SwiGluGradientCuda& arguments,
                                 void* stream) {
  const SwiGluGradientCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    return DispatchPacks<Element>(
        ArePacks<Element>(a.columns, a.packed, a.dy, a.dpacked),
        [&](auto pack) {
          constexpr int kPack = decltype(pack)::value;
          return LaunchKernel(SwiGluGradientKernel<Element, kPack>,
                              NumBlocks(a, kPack), kThreadsPerBlock, stream, a);
        });
  });
}

}  // namespace lextra
