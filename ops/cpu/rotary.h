// The linear map of RoPE and xPos on CPUs: each pair (x_2i, x_2i+1) of a head
// vector at place t is rotated by an angle and scaled. With c = factor * cos,
// s = factor * sin of (t, i):
//   y_2i = c x_2i - s x_2i+1,   y_2i+1 = c x_2i+1 + s x_2i.
#ifndef LEXTRA_OPS_CPU_ROTARY_H_
#define LEXTRA_OPS_CPU_ROTARY_H_

#include <cstdint>

#include "ops/head_view.h"

namespace lextra {

// Rows of D / 2 factors for consecutive places.
template <typename Scalar>
struct RotationTable {
  const Scalar* cos;
  const Scalar* sin;
};

// `out` may be `in`. transposed: the transpose of the map, s -> -s. Instances
// for float and double.
template <typename Scalar>
void RotatePairs(HeadVectors<const Scalar> in, HeadVectors<Scalar> out,
                 RotationTable<Scalar> table, int64_t batch, int64_t places,
                 int64_t heads, int64_t head_dim, bool transposed);

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_ROTARY_H_
