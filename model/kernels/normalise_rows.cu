#include "model/kernels/normalise_rows_cuda.h"
#include "parallel/kernels/packed_columns.cuh"

namespace lextra {
namespace {

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = kThreadsPerBlock / kWarp;
// Up to here a warp takes a row alone.
constexpr int64_t kShortColumns = 1024;

// The sum over the kThreads, a warp or the block, that share a row.
template <int kThreads, typename Compute>
__device__ Compute SumOverRow(Compute value) {
  value = SumOverWarp(value);
  if constexpr (kThreads > kWarp) {
    __shared__ Compute of_warps[kThreads / kWarp];
    __syncthreads();  // the last sum has been read
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) value += of_warps[warp];
  }
  return value;
}

template <int kThreads>
__device__ void SyncRow() {
  if constexpr (kThreads > kWarp) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

template <typename Element, int kThreads, int kPack>
__global__ void NormaliseRowsKernel(NormaliseRowsCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * (kThreadsPerBlock / kThreads) +
      threadIdx.x / kThreads;
  if (row >= a.rows) return;
  const int lane = threadIdx.x % kThreads;
  const auto for_each_pack = [&](auto visit) {
    for (int64_t c = lane * kPack; c < a.columns; c += kThreads * kPack) {
      visit(c);
    }
  };
  const auto width = static_cast<Compute>(a.width);
  const bool all = a.stage == NormStage::kAll;
  Compute* const mean_of_row = static_cast<Compute*>(a.mean) + row;
  Compute* const rstd_of_row = static_cast<Compute*>(a.rstd) + row;

  const Element* x = static_cast<const Element*>(a.x) + row * a.columns;
  if (a.branch != nullptr) {
    const Element* branch =
        static_cast<const Element*>(a.branch) + row * a.columns;
    Element* sum = static_cast<Element*>(a.sum) + row * a.columns;
    for_each_pack([&](int64_t c) {
      auto values = LoadPack<kPack>(x + c);
      const auto added = LoadPack<kPack>(branch + c);
      for (int i = 0; i < kPack; ++i) values[i] += added[i];
      StorePack(values, sum + c);
    });
    x = sum;  // each thread reads what it has written
  }

  Compute mean = 0;
  if (all ? a.centred : a.stage == NormStage::kMean) {
    Compute sum = 0;
    for_each_pack([&](int64_t c) {
      const auto values = LoadPack<kPack>(x + c);
      for (int i = 0; i < kPack; ++i) sum += values[i];
    });
    mean = SumOverRow<kThreads>(sum) / width;
    if (lane == 0) *mean_of_row = mean;
    if (!all) return;
  } else if (!all) {
    mean = *mean_of_row;
  }

  Compute variance;
  if (a.stage == NormStage::kResult) {
    variance = *rstd_of_row;
    SyncRow<kThreads>();  // before it is overwritten
  } else {
    Compute squares = 0;
    for_each_pack([&](int64_t c) {
      const auto values = LoadPack<kPack>(x + c);
      for (int i = 0; i < kPack; ++i) {
        squares += (values[i] - mean) * (values[i] - mean);
      }
    });
    variance = SumOverRow<kThreads>(squares) / width;
    if (!all) {
      if (lane == 0) *rstd_of_row = variance;
      return;
    }
  }
  const Compute rstd =
      1 / std::sqrt(variance + static_cast<Compute>(a.epsilon));
  if (lane == 0) *rstd_of_row = rstd;

  const Element* weight = static_cast<const Element*>(a.weight);
  const Element* bias = static_cast<const Element*>(a.bias);
  Element* y = static_cast<Element*>(a.y) + row * a.columns;
  for_each_pack([&](int64_t c) {
    auto values = LoadPack<kPack>(x + c);
    const auto w = LoadPack<kPack>(weight + c);
    for (int i = 0; i < kPack; ++i) {
      values[i] = (values[i] - mean) * rstd * w[i];
    }
    if (bias != nullptr) {
      const auto b = LoadPack<kPack>(bias + c);
      for (int i = 0; i < kPack; ++i) values[i] += b[i];
    }
    StorePack(values, y + c);
  });
}

// First a warp for each row adds what the row's gradient needs; then each
// thread takes its columns through all rows of the block, so that the
// parameters' gradients are added in the order of rows.
template <typename Element, int kPack>
__global__ void NormaliseRowsGradientKernel(NormaliseRowsGradientCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t first_row =
      static_cast<int64_t>(blockIdx.x) * kNormRowsPerBlock;
  const int64_t end_row = first_row + kNormRowsPerBlock < a.rows
                              ? first_row + kNormRowsPerBlock
                              : a.rows;
  const auto width = static_cast<Compute>(a.width);
  const Element* x = static_cast<const Element*>(a.x);
  const Element* dy = static_cast<const Element*>(a.dy);
  const Element* weight = static_cast<const Element*>(a.weight);
  const Compute* mean = static_cast<const Compute*>(a.mean);
  const Compute* rstd = static_cast<const Compute*>(a.rstd);

  __shared__ Compute sums_of_block[2 * kNormRowsPerBlock];
  Compute* const sums = static_cast<Compute*>(a.sums);
  if (a.stage == NormStage::kResult) {
    const int64_t place = 2 * first_row + threadIdx.x;
    if (place < 2 * end_row) sums_of_block[threadIdx.x] = sums[place];
  } else {
    Compute* const destination =
        a.stage == NormStage::kAll ? sums_of_block : sums + 2 * first_row;
    const int lane = threadIdx.x % kWarp;
    for (int64_t row = first_row + threadIdx.x / kWarp; row < end_row;
         row += kWarpsPerBlock) {
      Compute sum = 0;
      Compute product = 0;
      for (int64_t c = lane * kPack; c < a.columns; c += kWarp * kPack) {
        const auto x_c = LoadPack<kPack>(x + row * a.columns + c);
        const auto dy_c = LoadPack<kPack>(dy + row * a.columns + c);
        const auto w_c = LoadPack<kPack>(weight + c);
        for (int i = 0; i < kPack; ++i) {
          const Compute g = dy_c[i] * w_c[i];
          sum += g;
          product += g * (x_c[i] - mean[row]);
        }
      }
      sum = SumOverWarp(sum);
      product = SumOverWarp(product);
      if (lane == 0) {
        destination[2 * (row - first_row)] = sum;
        destination[2 * (row - first_row) + 1] = product * rstd[row];
      }
    }
    if (a.stage != NormStage::kAll) return;
  }
  __syncthreads();

  const Element* dx_from_residual =
      static_cast<const Element*>(a.dx_from_residual);
  Element* dx = static_cast<Element*>(a.dx);
  Compute* const dparameters = static_cast<Compute*>(a.dparameters) +
                               static_cast<int64_t>(blockIdx.x) * 2 * a.columns;
  for (int64_t c = threadIdx.x * kPack; c < a.columns;
       c += kThreadsPerBlock * kPack) {
    const auto w_c = LoadPack<kPack>(weight + c);
    Values<Compute, kPack> dweight;
    Values<Compute, kPack> dbias;
    for (int64_t row = first_row; row < end_row; ++row) {
      const Compute* of_row = sums_of_block + 2 * (row - first_row);
      const Compute mean_g = a.centred ? of_row[0] / width : 0;
      const Compute mean_g_xhat = of_row[1] / width;
      const int64_t place = row * a.columns + c;
      const auto x_c = LoadPack<kPack>(x + place);
      const auto dy_c = LoadPack<kPack>(dy + place);
      Values<Compute, kPack> dx_c;
      for (int i = 0; i < kPack; ++i) {
        const Compute xhat = (x_c[i] - mean[row]) * rstd[row];
        dx_c[i] = rstd[row] * (dy_c[i] * w_c[i] - mean_g - xhat * mean_g_xhat);
        dweight[i] += dy_c[i] * xhat;
        dbias[i] += dy_c[i];
      }
      if (dx_from_residual != nullptr) {
        const auto more = LoadPack<kPack>(dx_from_residual + place);
        for (int i = 0; i < kPack; ++i) dx_c[i] += more[i];
      }
      StorePack(dx_c, dx + place);
    }
    StorePack(dweight, dparameters + c);
    StorePack(dbias, dparameters + a.columns + c);
  }
}

}  // namespace
}  // namespace lextra

extern "C" const char* LextraNormaliseRows(
    const lextra::NormaliseRowsCuda& arguments, void* stream) {
  using namespace lextra;
  const NormaliseRowsCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    const bool packs = ArePacks<Element>(a.columns, a.x, a.branch, a.sum,
                                         a.weight, a.bias, a.y);
    return DispatchPacks(packs, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      if (a.columns <= kShortColumns) {
        return LaunchKernel(NormaliseRowsKernel<Element, kWarp, kPack>,
                            (a.rows + kWarpsPerBlock - 1) / kWarpsPerBlock,
                            kThreadsPerBlock, stream, a);
      }
      return LaunchKernel(NormaliseRowsKernel<Element, kThreadsPerBlock, kPack>,
                          a.rows, kThreadsPerBlock, stream, a);
    });
  });
}

extern "C" const char* LextraNormaliseRowsGradient(
    const lextra::NormaliseRowsGradientCuda& arguments, void* stream) {
  using namespace lextra;
  const NormaliseRowsGradientCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    const bool packs = ArePacks<Element>(a.columns, a.x, a.weight, a.dy,
                                         a.dx_from_residual, a.dx);
    return DispatchPacks(packs, [&](auto pack) {
      return LaunchKernel(
          NormaliseRowsGradientKernel<Element, decltype(pack)::value>,
          (a.rows + kNormRowsPerBlock - 1) / kNormRowsPerBlock,
          kThreadsPerBlock, stream, a);
    });
  });
}
