#include "ops/cuda/norm.h"
#include "ops/cuda/packed_columns.cuh"

namespace lextra {
namespace {

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = kThreadsPerBlock / kWarp;
// Columns of a row that a thread keeps in registers.
constexpr int kColumnsHeld = 32;
// Up to the first a warp handles a row alone, up to the second a block keeps it
// in registers.
constexpr int64_t kShortColumns = kWarp * kColumnsHeld;
constexpr int64_t kHeldColumns = kThreadsPerBlock * kColumnsHeld;

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

// A row of x and the thread's part of it, read once and kept in registers if
// kHeld, otherwise read by each sum.
template <typename Element, int kThreads, int kPack, bool kHeld>
struct RowOfX {
  using Compute = ComputeType<Element>;
  using Packs = Values<Compute, kPack>;
  static constexpr int kPacksHeld = kHeld ? kColumnsHeld / kPack : 1;

  const Element* x;
  int64_t columns;
  int lane;
  Packs held[kPacksHeld];

  // visit(i, column) for the thread's i-th pack.
  template <typename Visit>
  __device__ void ForEachPlace(Visit visit) const {
    if constexpr (kHeld) {
      // Registers have no index: held[i] is a register only if i is a constant.
#pragma unroll
      for (int i = 0; i < kPacksHeld; ++i) {
        const int64_t c = (i * kThreads + lane) * kPack;
        if (c < columns) visit(i, c);
      }
    } else {
      int64_t c = lane * kPack;
      for (int i = 0; c < columns; ++i, c += kThreads * kPack) visit(i, c);
    }
  }

  template <typename Visit>
  __device__ void ForEachPack(Visit visit) const {
    ForEachPlace([&](int i, int64_t c) {
      if constexpr (kHeld) {
        visit(c, held[i]);
      } else {
        visit(c, LoadPack<kPack>(x + c));
      }
    });
  }

  // From here on x is x + branch, as rounded in `sum`, if there is a branch.
  __device__ void Read(const Element* branch, Element* sum) {
    if (!kHeld && branch == nullptr) return;
    ForEachPlace([&](int i, int64_t c) {
      Packs values = LoadPack<kPack>(x + c);
      if (branch != nullptr) {
        const Packs added = LoadPack<kPack>(branch + c);
        for (int k = 0; k < kPack; ++k) {
          values[k] =
              static_cast<Compute>(static_cast<Element>(values[k] + added[k]));
        }
        StorePack(values, sum + c);
      }
      if constexpr (kHeld) held[i] = values;
    });
    if (branch != nullptr) x = sum;
  }

  __device__ Compute Sum() const {
    Compute sum = 0;
    ForEachPack([&](int64_t, const Packs& values) {
      for (int i = 0; i < kPack; ++i) sum += values[i];
    });
    return SumOverRow<kThreads>(sum);
  }

  __device__ Compute Squares(Compute mean) const {
    Compute squares = 0;
    ForEachPack([&](int64_t, const Packs& values) {
      for (int i = 0; i < kPack; ++i) {
        squares += (values[i] - mean) * (values[i] - mean);
      }
    });
    return SumOverRow<kThreads>(squares);
  }

  __device__ void Normalize(Compute mean, Compute rstd, const Element* weight,
                            const Element* bias, Element* y) const {
    ForEachPack([&](int64_t c, Packs values) {
      const Packs w = LoadPack<kPack>(weight + c);
      for (int i = 0; i < kPack; ++i) {
        values[i] = (values[i] - mean) * rstd * w[i];
      }
      if (bias != nullptr) {
        const Packs b = LoadPack<kPack>(bias + c);
        for (int i = 0; i < kPack; ++i) values[i] += b[i];
      }
      StorePack(values, y + c);
    });
  }
};

template <typename Element, int kThreads, int kPack, bool kHeld>
__global__ void NormalizeRowsKernel(NormalizeRowsCuda a) {
  using Compute = ComputeType<Element>;
  const int64_t n =
      static_cast<int64_t>(blockIdx.x) * (kThreadsPerBlock / kThreads) +
      threadIdx.x / kThreads;
  if (n >= a.rows) return;
  const int lane = threadIdx.x % kThreads;
  const int64_t begin = n * a.columns;
  const auto width = static_cast<Compute>(a.width);
  const bool all = a.stage == NormStage::kAll;
  Compute* const mean_of_row = static_cast<Compute*>(a.mean) + n;
  Compute* const rstd_of_row = static_cast<Compute*>(a.rstd) + n;

  RowOfX<Element, kThreads, kPack, kHeld> row = {
      static_cast<const Element*>(a.x) + begin, a.columns, lane, {}};
  const Element* branch = static_cast<const Element*>(a.branch);
  row.Read(branch == nullptr ? nullptr : branch + begin,
           static_cast<Element*>(a.sum) + begin);
  Compute mean = 0;
  if (all ? a.centered : a.stage == NormStage::kMean) {
    mean = row.Sum() / width;
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
    variance = row.Squares(mean) / width;
    if (!all) {
      if (lane == 0) *rstd_of_row = variance;
      return;
    }
  }
  const Compute rstd =
      1 / std::sqrt(variance + static_cast<Compute>(a.epsilon));
  if (lane == 0) *rstd_of_row = rstd;
  row.Normalize(mean, rstd, static_cast<const Element*>(a.weight),
                static_cast<const Element*>(a.bias),
                static_cast<Element*>(a.y) + begin);
}

// The rows of one thread block.
template <typename Element, int kPack>
struct BlockOfRows {
  using Compute = ComputeType<Element>;

  __device__ explicit BlockOfRows(const NormalizeRowsGradientCuda& arguments)
      : a(arguments),
        first(static_cast<int64_t>(blockIdx.x) * kNormRowsPerBlock),
        end(first + kNormRowsPerBlock < a.rows ? first + kNormRowsPerBlock
                                               : a.rows),
        x(static_cast<const Element*>(a.x)),
        dy(static_cast<const Element*>(a.dy)),
        weight(static_cast<const Element*>(a.weight)),
        mean(static_cast<const Compute*>(a.mean)),
        rstd(static_cast<const Compute*>(a.rstd)) {}

  // sums [rows of the block, 2]: one warp per row.
  __device__ void SetSums(Compute* sums) const {
    const int lane = threadIdx.x % kWarp;
    for (int64_t row = first + threadIdx.x / kWarp; row < end;
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
        sums[2 * (row - first)] = sum;
        sums[2 * (row - first) + 1] = product * rstd[row];
      }
    }
  }

  // For columns c, c + 1, .. of a pack, over all rows of the block in order.
  __device__ void SetGradients(const Compute* sums, int64_t c,
                               Compute* dparameters) const {
    const Element* dx_from_residual =
        static_cast<const Element*>(a.dx_from_residual);
    const auto width = static_cast<Compute>(a.width);
    const auto w_c = LoadPack<kPack>(weight + c);
    Values<Compute, kPack> dweight;
    Values<Compute, kPack> dbias;
    for (int64_t row = first; row < end; ++row) {
      const Compute* of_row = sums + 2 * (row - first);
      const Compute mean_g = a.centered ? of_row[0] / width : 0;
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
      StorePack(dx_c, static_cast<Element*>(a.dx) + place);
    }
    StorePack(dweight, dparameters + c);
    StorePack(dbias, dparameters + a.columns + c);
  }

  const NormalizeRowsGradientCuda& a;
  int64_t first;
  int64_t end;
  const Element* x;
  const Element* dy;
  const Element* weight;
  const Compute* mean;
  const Compute* rstd;
};

template <typename Element, int kPack>
__global__ void NormalizeRowsGradientKernel(NormalizeRowsGradientCuda a) {
  using Compute = ComputeType<Element>;
  const BlockOfRows<Element, kPack> rows(a);
  Compute* const all_sums = static_cast<Compute*>(a.sums);
  if (a.stage == NormStage::kGradientSums) {
    rows.SetSums(all_sums + 2 * rows.first);
    return;
  }
  __shared__ Compute sums[2 * kNormRowsPerBlock];
  if (a.stage == NormStage::kAll) {
    rows.SetSums(sums);
  } else if (threadIdx.x < 2 * (rows.end - rows.first)) {
    sums[threadIdx.x] = all_sums[2 * rows.first + threadIdx.x];
  }
  __syncthreads();
  Compute* const dparameters = static_cast<Compute*>(a.dparameters) +
                               static_cast<int64_t>(blockIdx.x) * 2 * a.columns;
  for (int64_t c = threadIdx.x * kPack; c < a.columns;
       c += kThreadsPerBlock * kPack) {
    rows.SetGradients(sums, c, dparameters);
  }
}

}  // namespace

const char* LaunchNormalizeRows(const NormalizeRowsCuda& arguments,
                                void* stream) {
  const NormalizeRowsCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    const bool packs = ArePacks<Element>(a.columns, a.x, a.branch, a.sum,
                                         a.weight, a.bias, a.y);
    return DispatchPacks<Element>(packs, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      if (a.columns <= kShortColumns) {
        return LaunchKernel(NormalizeRowsKernel<Element, kWarp, kPack, true>,
                            (a.rows + kWarpsPerBlock - 1) / kWarpsPerBlock,
                            kThreadsPerBlock, stream, a);
      }
      return LaunchKernel(
          a.columns <= kHeldColumns
              ? NormalizeRowsKernel<Element, kThreadsPerBlock, kPack, true>
              : NormalizeRowsKernel<Element, kThreadsPerBlock, kPack, false>,
          a.rows, kThreadsPerBlock, stream, a);
    });
  });
}

const char* LaunchNormalizeRowsGradient(
    const NormalizeRowsGradientCuda& arguments, void* stream) {
  const NormalizeRowsGradientCuda& a = arguments;
  return DispatchElement(a.type, [&](auto element) {
    using Element = decltype(element);
    const bool packs = ArePacks<Element>(a.columns, a.x, a.weight, a.dy,
                                         a.dx_from_residual, a.dx);
    return DispatchPacks<Element>(packs, [&](auto pack) {
      return LaunchKernel(
          NormalizeRowsGradientKernel<Element, decltype(pack)::value>,
          (a.rows + kNormRowsPerBlock - 1) / kNormRowsPerBlock,
          kThreadsPerBlock, stream, a);
    });
  });
}

}  // namespace lextra
