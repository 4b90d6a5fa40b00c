// One thread block per row.
#include "ops/cuda/packed_columns.cuh"
#include "ops/cuda/softmax.h"

namespace lextra {
namespace {

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = kThreadsPerBlock / kWarp;
// Finite, so that -inf - maximum is -inf.
constexpr float kLowest = -3.4028234e38f;

// The sum of exp(scores) so far, as sum * exp(maximum).
template <typename Score>
struct RunningSum {
  Score maximum = kLowest;
  Score sum = 0;

  __device__ void Add(Score other_maximum, Score other_sum) {
    const Score larger = other_maximum > maximum ? other_maximum : maximum;
    sum = sum * std::exp(maximum - larger) +
          other_sum * std::exp(other_maximum - larger);
    maximum = larger;
  }

  // Over all threads of the block; the result is in thread 0.
  __device__ void ReduceOverBlock() {
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      const Score other_maximum =
          __shfl_xor_sync(0xffffffff, maximum, distance);
      const Score other_sum = __shfl_xor_sync(0xffffffff, sum, distance);
      Add(other_maximum, other_sum);
    }
    __shared__ Score maxima[kWarpsPerBlock];
    __shared__ Score sums[kWarpsPerBlock];
    if (threadIdx.x % kWarp == 0) {
      maxima[threadIdx.x / kWarp] = maximum;
      sums[threadIdx.x / kWarp] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < kWarpsPerBlock; ++warp) {
      Add(maxima[warp], sums[warp]);
    }
  }
};

template <typename Score, int kPack>
__global__ void ScoreStatisticsKernel(ScoreStatisticsCuda a) {
  const int64_t row = blockIdx.x;
  const Score* scores =
      static_cast<const Score*>(a.rows.scores) + row * a.rows.row_stride;
  RunningSum<Score> running;
  for (int64_t c = threadIdx.x * kPack; c < a.rows.columns;
       c += kThreadsPerBlock * kPack) {
    const auto values = LoadPack<kPack>(scores + c);
    Score maximum = running.maximum;
    for (int i = 0; i < kPack; ++i) {
      if (values[i] > maximum) maximum = values[i];
    }
    Score sum = 0;
    for (int i = 0; i < kPack; ++i) sum += std::exp(values[i] - maximum);
    running.sum = running.sum * std::exp(running.maximum - maximum) + sum;
    running.maximum = maximum;
  }
  running.ReduceOverBlock();
  if (threadIdx.x != 0) return;
  const int64_t target = a.rows.targets[row] - a.rows.first_id;
  const bool is_here = target >= 0 && target < a.rows.columns;
  static_cast<Score*>(a.maximum)[row] = running.maximum;
  static_cast<Score*>(a.sum)[row] = running.sum;
  static_cast<Score*>(a.target_score)[row] = is_here ? scores[target] : 0;
}

template <typename Score, typename Gradient, int kPack>
__global__ void ScoreGradientKernel(ScoreGradientCuda a) {
  const int64_t row = blockIdx.x;
  Score* scores = static_cast<Score*>(a.rows.scores) + row * a.rows.row_stride;
  Gradient* gradients = reinterpret_cast<Gradient*>(scores);
  const Score maximum = static_cast<const Score*>(a.maximum)[row];
  const auto scale = static_cast<Score>(a.scale);
  const Score share = static_cast<const Score*>(a.share)[row] * scale;
  const int64_t target = a.rows.targets[row] - a.rows.first_id;
  for (int64_t begin = 0; begin < a.rows.columns;
       begin += kThreadsPerBlock * kPack) {
    const int64_t c = begin + threadIdx.x * kPack;
    Values<Score, kPack> values;
    if (c < a.rows.columns) {
      values = LoadPack<kPack>(scores + c);
      for (int i = 0; i < kPack; ++i) {
        values[i] = std::exp(values[i] - maximum) * share -
                    (c + i == target ? scale : 0);
      }
    }
    // Smaller gradients overwrite scores of this round that other threads read,
    // but never those of later rounds.
    if constexpr (sizeof(Gradient) < sizeof(Score)) __syncthreads();
    if (c < a.rows.columns) StorePack(values, gradients + c);
  }
}

template <typename Score>
bool AreScorePacks(const ScoreRows& rows) {
  return rows.row_stride % kPackSize<Score> == 0 &&
         ArePacks<Score>(rows.columns, rows.scores);
}

template <typename Score, typename Gradient>
const char* LaunchScoreGradient(const ScoreGradientCuda& a, void* stream) {
  return DispatchPacks<Score>(AreScorePacks<Score>(a.rows), [&](auto pack) {
    return LaunchKernel(
        ScoreGradientKernel<Score, Gradient, decltype(pack)::value>,
        a.rows.rows, kThreadsPerBlock, stream, a);
  });
}

template <typename Score>
const char* LaunchScoreStatistics(const ScoreStatisticsCuda& a, void* stream) {
  return DispatchPacks<Score>(AreScorePacks<Score>(a.rows), [&](auto pack) {
    return LaunchKernel(ScoreStatisticsKernel<Score, decltype(pack)::value>,
                        a.rows.rows, kThreadsPerBlock, stream, a);
  });
}

constexpr char kUnknownTypes[] = "unsupported type of scores or gradients";

}  // namespace

const char* LaunchScoreStatisticsKernel(const ScoreStatisticsCuda& arguments,
                                        void* stream) {
  switch (arguments.rows.type) {
    case ElementType::kFloat:
      return LaunchScoreStatistics<float>(arguments, stream);
    case ElementType::kDouble:
      return LaunchScoreStatistics<double>(arguments, stream);
    default:
      return kUnknownTypes;
  }
}

const char* LaunchScoreGradientKernel(const ScoreGradientCuda& arguments,
                                      void* stream) {
  const ElementType scores = arguments.rows.type;
  const ElementType gradients = arguments.gradient_type;
  if (scores == ElementType::kFloat && gradients == ElementType::kFloat) {
    return LaunchScoreGradient<float, float>(arguments, stream);
  }
  if (scores == ElementType::kFloat && gradients == ElementType::kBFloat16) {
    return LaunchScoreGradient<float, BFloat16>(arguments, stream);
  }
  if (scores == ElementType::kDouble && gradients == ElementType::kDouble) {
    return LaunchScoreGradient<double, double>(arguments, stream);
  }
  return kUnknownTypes;
}

}  // namespace lextra
