#include "trainer/optimizer/gradient_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/math.h"

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
  std::vector<double> sums(CeilDivide(size, kChunk));
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

at::Tensor SumOfSquares(const at::Tensor& vector) {
  TORCH_CHECK(vector.is_contiguous(),
              "SumOfSquares expects a contiguous vector");
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
  // Of parameters sharded over the tensor axis, and of the others.
  const at::Tensor sums =
      at::zeros({2}, parameters.gradients().options().dtype(at::kDouble));
  for (const FlatParameters::Run& run : parameters.OwnRuns()) {
    sums[run.tensor_sharded ? 0 : 1] +=
        SumOfSquares(parameters.gradients().narrow(0, run.begin, run.size));
  }
  if (parameters.num_owners() > 1) data_axis.AllReduce(sums, ReduceOp::kSum);
  tensor_axis.AllReduce(sums.narrow(0, 0, 1), ReduceOp::kSum);
  return sums.sum().sqrt_();
}

}  // namespace lextra
