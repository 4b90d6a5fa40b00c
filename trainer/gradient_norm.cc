#include "trainer/gradient_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

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

// Calls visit(gradients, tensor_sharded) for the longest runs of gradients that
// this rank owns of parameters of one kind.
template <typename Visit>
void ForEachOwnRun(const FlatParameters& parameters, Visit visit) {
  const std::vector<FlatParameters::Slot>& slots = parameters.slots();
  const auto is_sharded = [&](size_t slot) {
    return slots[slot].parameter->tensor_sharded;
  };
  for (const FlatParameters::Piece& piece : parameters.pieces()) {
    for (size_t first = 0, next = 0; first < slots.size(); first = next) {
      while (next < slots.size() && is_sharded(next) == is_sharded(first)) {
        ++next;
      }
      const int64_t begin = std::max(piece.begin, slots[first].begin);
      const int64_t end =
          std::min(piece.begin + piece.size,
                   slots[next - 1].begin + slots[next - 1].size);
      if (begin >= end) continue;
      visit(parameters.gradients().narrow(0, begin, end - begin),
            is_sharded(first));
    }
  }
}

}  // namespace

at::Tensor SumOfSquares(const at::Tensor& vector) {
  TORCH_CHECK(vector.is_contiguous(), "SumOfSquares wants a contiguous vector");
  if (!vector.is_cpu()) {
    return at::linalg_vector_norm(vector, 2, {}, false, at::kDouble).square_();
  }
  const double sum = vector.scalar_type() == at::kDouble
                         ? Sum(vector.const_data_ptr<double>(), vector.numel())
                         : Sum(vector.const_data_ptr<float>(), vector.numel());
  return at::scalar_tensor(sum, at::kDouble);
}

at::Tensor GlobalGradientNorm(const FlatParameters& parameters,
                              Communicator& data_axis,
                              Communicator& tensor_axis) {
  RECORD_USER_SCOPE("optimizer: gradient norm");
  // Of parameters that the tensor axis shards, and of the others.
  const at::Tensor sums =
      at::zeros({2}, parameters.gradients().options().dtype(at::kDouble));
  ForEachOwnRun(parameters, [&](const at::Tensor& run, bool tensor_sharded) {
    sums[tensor_sharded ? 0 : 1] += SumOfSquares(run);
  });
  if (parameters.num_owners() > 1) data_axis.AllReduce(sums, ReduceOp::kSum);
  tensor_axis.AllReduce(sums.narrow(0, 0, 1), ReduceOp::kSum);
  return sums.sum().sqrt_();
}

}  // namespace lextra
