#include "model/kernels/rotate_pairs.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "model/kernels/vector_clones.h"

namespace lextra {
namespace {

// Numbers that a thread should have at least.
constexpr int64_t kGrain = 1 << 14;

// All heads of one place: in and out step by their head strides.
template <typename Scalar>
LEXTRA_ALWAYS_INLINE void RotatePlaceBody(const Scalar* in, int64_t in_stride,
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

LEXTRA_VECTOR_CLONES
void RotatePlace(const float* in, int64_t in_stride, float* out,
                 int64_t out_stride, const float* cos, const float* sin,
                 int64_t heads, int64_t pairs, float sign) {
  RotatePlaceBody(in, in_stride, out, out_stride, cos, sin, heads, pairs, sign);
}

LEXTRA_VECTOR_CLONES
void RotatePlace(const double* in, int64_t in_stride, double* out,
                 int64_t out_stride, const double* cos, const double* sin,
                 int64_t heads, int64_t pairs, double sign) {
  RotatePlaceBody(in, in_stride, out, out_stride, cos, sin, heads, pairs, sign);
}

template <typename Scalar>
void RotateAll(HeadVectors<const Scalar> in, HeadVectors<Scalar> out,
               RotationTable<Scalar> table, int64_t batch, int64_t places,
               int64_t heads, int64_t head_size, bool transposed) {
  const int64_t pairs = head_size / 2;
  const Scalar sign = transposed ? -1 : 1;
  const int64_t grain =
      std::max<int64_t>(1, kGrain / std::max<int64_t>(1, heads * head_size));
  at::parallel_for(
      0, batch * places, grain, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / places;
          const int64_t t = row % places;
          RotatePlace(in.At(b, t, 0), in.head_stride, out.At(b, t, 0),
                      out.head_stride, table.cos + t * pairs,
                      table.sin + t * pairs, heads, pairs, sign);
        }
      });
}

}  // namespace

void RotatePairs(HeadVectors<const float> in, HeadVectors<float> out,
                 RotationTable<float> table, int64_t batch, int64_t places,
                 int64_t heads, int64_t head_size, bool transposed) {
  RotateAll(in, out, table, batch, places, heads, head_size, transposed);
}

void RotatePairs(HeadVectors<const double> in, HeadVectors<double> out,
                 RotationTable<double> table, int64_t batch, int64_t places,
                 int64_t heads, int64_t head_size, bool transposed) {
  RotateAll(in, out, table, batch, places, heads, head_size, transposed);
}

}  // namespace lextra
