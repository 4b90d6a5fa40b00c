#include "ops/cpu/rotary.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/vector_clones.h"

namespace lextra {
namespace {

// Minimum of elements per thread.
constexpr int64_t kGrain = 1 << 14;

// All heads of one place: in and out step by their head strides.
template <typename Scalar>
LEXTRA_VECTOR_CLONES void RotatePlace(const Scalar* in, int64_t in_stride,
                                      Scalar* out, int64_t out_stride,
                                      const Scalar* cos, const Scalar* sin,
                                      int64_t heads, int64_t pairs,
                                      Scalar sign) {
  for (int64_t head = 0; head < heads; ++head) {
    const Scalar* x = in + head * in_stride;
    Scalar* y = out + head * out_stride;
#pragma omp simd
    for (int64_t i = 0; i < pairs; ++i) {
      const Scalar even = x[2 * i];
      const Scalar odd = x[2 * i + 1];
      const Scalar s = sign * sin[i];
      y[2 * i] = even * cos[i] - odd * s;
      y[2 * i + 1] = odd * cos[i] + even * s;
    }
  }
}

}  // namespace

template <typename Scalar>
void RotatePairs(HeadVectors<const Scalar> in, HeadVectors<Scalar> out,
                 RotationTable<Scalar> table, int64_t batch, int64_t places,
                 int64_t heads, int64_t head_dim, bool transposed) {
  const int64_t pairs = head_dim / 2;
  const Scalar sign = transposed ? -1 : 1;
  const int64_t grain =
      std::max<int64_t>(1, kGrain / std::max<int64_t>(1, heads * head_dim));
  at::parallel_for(0, batch * places, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / places;
      const int64_t t = row % places;
      RotatePlace(in.At(b, t, 0), in.head_stride, out.At(b, t, 0),
                  out.head_stride, table.cos + t * pairs, table.sin + t * pairs,
                  heads, pairs, sign);
    }
  });
}

template void RotatePairs(HeadVectors<const float>, HeadVectors<float>,
                          RotationTable<float>, int64_t, int64_t, int64_t,
                          int64_t, bool);
template void RotatePairs(HeadVectors<const double>, HeadVectors<double>,
                          RotationTable<double>, int64_t, int64_t, int64_t,
                          int64_t, bool);

}  // namespace lextra
