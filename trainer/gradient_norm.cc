#include "trainer/gradient_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace lextra {
namespace {

// Elements summed in the vector's own dtype before fp64 takes over.
constexpr int64_t kBlock = 512;
constexpr int64_t kChunk = 64 * kBlock;
constexpr int kLanes = 16;

template <typename T>
double SumChunk(const T* values, int64_t size) {
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(size, begin + kBlock);
    T lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += values[i + lane] * values[i + lane];
      }
    }
    for (; i < end; ++i) lanes[0] += values[i] * values[i];
    for (const T lane : lanes) total += lane;
  }
  return total;
}

template <typename T>
double Sum(const T* values, int64_t size) {
  std::vector<double> sums((size + kChunk - 1) / kChunk);
  at::parallel_for(0, sums.size(), 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int64_t begin = chunk * kChunk;
      sums[chunk] = SumChunk(values + begin, std::min(kChunk, size - begin));
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

double SumOfSquares(const at::Tensor& vector) {
  TORCH_CHECK(vector.is_contiguous(), "SumOfSquares wants a contiguous vector");
  if (vector.scalar_type() == at::kDouble) {
    return Sum(vector.const_data_ptr<double>(), vector.numel());
  }
  return Sum(vector.const_data_ptr<float>(), vector.numel());
}

double GlobalGradientNorm(const FlatParameters& parameters,
                          Communicator& tensor_axis) {
  double sharded = 0;
  double replicated = 0;
  for (const FlatParameters::Slot& slot : parameters.slots()) {
    (slot.parameter->tensor_sharded ? sharded : replicated) +=
        SumOfSquares(parameters.gradients().narrow(0, slot.begin, slot.size));
  }
  at::Tensor sum = at::full({1}, sharded, at::kDouble);
  tensor_axis.AllReduce(sum, ReduceOp::kSum);
  return std::sqrt(sum.item<double>() + replicated);
}

}  // namespace lextra
