// One thread per pack of columns, through kGeluRowsPerBlock rows.
#include "ops/cuda/gelu.h"
#include "ops/cuda/packed_columns.cuh"

namespace lextra {
namespace {

// Thread blocks side by side over a row.
__host__ __device__ int64_t BlocksPerRow(int64_t columns, int pack) {
  return (columns + kThreadsPerBlock * pack - 1) / (kThreadsPerBlock * pack);
}

// x Phi(x), derived: Phi(x) + x phi(x).
template <typename Compute>
__device__ Compute GeluDerivative(Compute x) {
  constexpr auto kRootOfHalf = static_cast<Compute>(0.70710678118654752440);
  constexpr auto kDensityAtZero = static_cast<Compute>(0.39894228040143267794);
  const Compute half = static_cast<Compute>(0.5);
  // erfc stays exact for large negative x, where 1 + erf would cancel.
  return half * std::erfc(-x * kRootOfHalf) +
         x * kDensityAtZero * std::exp(-half * x * x);
}

template <typename Element, int kPack>
__global__ void GeluGradientKernel(GeluGradientCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t across = BlocksPerRow(a.columns, kPack);
  const int64_t row_block = blockIdx.x / across;
  const int64_t c =
      (blockIdx.x % across * kThreadsPerBlock + threadIdx.x) * kPack;
  if (c >= a.columns) return;
  const int64_t first = row_block * kGeluRowsPerBlock;
  const int64_t end =
      first + kGeluRowsPerBlock < a.rows ? first + kGeluRowsPerBlock : a.rows;
  Values<Compute, kPack> sums;
  for (int64_t row = first; row < end; ++row) {
    const int64_t place = row * a.columns + c;
    const auto h = LoadPack<kPack>(static_cast<const Element*>(a.h) + place);
    auto dh = LoadPack<kPack>(static_cast<const Element*>(a.dy) + place);
    for (int i = 0; i < kPack; ++i) {
      dh[i] *= GeluDerivative(h[i]);
      sums[i] += dh[i];
    }
    StorePack(dh, static_cast<Element*>(a.dh) + place);
  }
  if (a.sums == nullptr) return;
  StorePack(sums, static_cast<Compute*>(a.sums) + row_block * a.columns + c);
}

}  // namespace

const char* LaunchGeluGradient(const GeluGradientCuda& arguments,
                               void* stream) {
  const GeluGradientCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    const bool packs = ArePacks<Element>(a.columns, a.h, a.dy, a.dh);
    return DispatchPacks<Element>(packs, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const int64_t row_blocks =
          (a.rows + kGeluRowsPerBlock - 1) / kGeluRowsPerBlock;
      return LaunchKernel(GeluGradientKernel<Element, kPack>,
                          row_blocks * BlocksPerRow(a.columns, kPack),
                          kThreadsPerBlock, stream, a);
    });
  });
}

}  // namespace lextra
