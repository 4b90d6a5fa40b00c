// One thread for each pair of a head vector, pairs of a vector side by side.
#include "model/kernels/rotate_pairs_cuda.h"
#include "parallel/kernels/cuda_launch.cuh"

namespace lextra {
namespace {

template <typename Element>
__global__ void RotatePairsKernel(RotatePairsCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t pairs = a.head_size / 2;
  const int64_t index =
      static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= a.batch * a.places * a.heads * pairs) return;
  const int64_t pair = index % pairs;
  const int64_t head = index / pairs % a.heads;
  const int64_t place = index / pairs / a.heads % a.places;
  const int64_t batch = index / pairs / a.heads / a.places;

  const auto offset = [&](const auto& vectors) {
    return batch * vectors.batch_stride + place * vectors.place_stride +
           head * vectors.head_stride + 2 * pair;
  };
  const Element* x = static_cast<const Element*>(a.in.data) + offset(a.in);
  Element* y = static_cast<Element*>(a.out.data) + offset(a.out);
  const Compute c = static_cast<const Compute*>(a.cos)[place * pairs + pair];
  Compute s = static_cast<const Compute*>(a.sin)[place * pairs + pair];
  if (a.transposed) s = -s;
  const Compute even = static_cast<Compute>(x[0]);
  const Compute odd = static_cast<Compute>(x[1]);
  y[0] = static_cast<Element>(even * c - odd * s);
  y[1] = static_cast<Element>(odd * c + even * s);
}

}  // namespace
}  // namespace lextra

extern "C" const char* LextraRotatePairs(
    const lextra::RotatePairsCuda& arguments, void* stream) {
  using namespace lextra;
  const int64_t threads = arguments.batch * arguments.places * arguments.heads *
                          (arguments.head_size / 2);
  return DispatchElement(arguments.type, [&](auto element) {
    return LaunchKernel(RotatePairsKernel<decltype(element)>,
                        (threads + kThreadsPerBlock - 1) / kThreadsPerBlock,
                        kThreadsPerBlock, stream, arguments);
  });
}
