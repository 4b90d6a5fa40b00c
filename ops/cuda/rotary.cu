// One thread per few neighboring pairs of a head vector: 16 bytes, or one pair.
#include "ops/cuda/packed_columns.cuh"
#include "ops/cuda/rotary.h"

namespace lextra {
namespace {

// Elements are read and written kPack at a time.
template <typename Element, int kPairs, int kPack>
__global__ void RotatePairsKernel(RotatePairsCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t pairs = a.head_dim / 2;
  const int64_t threads_per_head = pairs / kPairs;
  const int64_t index =
      static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= a.batch * a.places * a.heads * threads_per_head) return;
  const int64_t pair = index % threads_per_head * kPairs;
  const int64_t head = index / threads_per_head % a.heads;
  const int64_t place = index / threads_per_head / a.heads % a.places;
  const int64_t batch = index / threads_per_head / a.heads / a.places;

  const auto offset = [&](const auto& vectors) {
    return batch * vectors.batch_stride + place * vectors.place_stride +
           head * vectors.head_stride + 2 * pair;
  };
  const Element* x = static_cast<const Element*>(a.in.data) + offset(a.in);
  Element* y = static_cast<Element*>(a.out.data) + offset(a.out);
  const int64_t row = place * pairs + pair;
  const auto c = LoadPack<kPairs>(static_cast<const Compute*>(a.cos) + row);
  const auto s = LoadPack<kPairs>(static_cast<const Compute*>(a.sin) + row);
  Compute values[2 * kPairs];
  for (int i = 0; i < 2 * kPairs; i += kPack) {
    const auto pack = LoadPack<kPack>(x + i);
    for (int k = 0; k < kPack; ++k) values[i + k] = pack[k];
  }
  for (int i = 0; i < kPairs; ++i) {
    const Compute sine = a.transposed ? -s[i] : s[i];
    const Compute even = values[2 * i];
    const Compute odd = values[2 * i + 1];
    values[2 * i] = even * c[i] - odd * sine;
    values[2 * i + 1] = odd * c[i] + even * sine;
  }
  for (int i = 0; i < 2 * kPairs; i += kPack) {
    Values<Compute, kPack> pack;
    for (int k = 0; k < kPack; ++k) pack[k] = values[i + k];
    StorePack(pack, y + i);
  }
}

// Whether every vector begins at a multiple of 16 bytes.
template <typename Element, typename Data>
bool BeginAtPacks(const HeadVectors<Data>& vectors) {
  return (vectors.batch_stride | vectors.place_stride | vectors.head_stride) %
             kPackSize<Element> ==
         0;
}

}  // namespace

const char* LaunchRotatePairs(const RotatePairsCuda& arguments, void* stream) {
  const RotatePairsCuda& a = arguments;
  const auto launch = [&](auto* kernel, int pairs_of_thread) {
    const int64_t threads =
        a.batch * a.places * a.heads * (a.head_dim / 2 / pairs_of_thread);
    return LaunchKernel(kernel,
                        (threads + kThreadsPerBlock - 1) / kThreadsPerBlock,
                        kThreadsPerBlock, stream, a);
  };
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    constexpr int kPack = kPackSize<Element>;
    const bool packs =
        ArePacks<Element>(a.head_dim, a.in.data, a.out.data, a.cos, a.sin) &&
        BeginAtPacks<Element>(a.in) && BeginAtPacks<Element>(a.out);
    return packs
               ? launch(RotatePairsKernel<Element, kPack / 2, kPack>, kPack / 2)
               : launch(RotatePairsKernel<Element, 1, 1>, 1);
  });
}

}  // namespace lextra
