// What ALiBi adds to attention scores: a penalty linear in the distance.
#ifndef LEXTRA_OPS_DISTANCE_BIAS_H_
#define LEXTRA_OPS_DISTANCE_BIAS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lextra {

// Positions of rows along T: first, first + step, ...
struct Positions {
  int64_t first = 0;
  int64_t step = 1;
};

// The scaled score of a query and a key of head h gets
//   -slope_h (position of the query - position of the key).
// slopes [H] have the dtype of the statistics of attention (fp64 for fp64,
// otherwise fp32) and its device; undefined: nothing is added.
struct DistanceBias {
  at::Tensor slopes_H = {};
  Positions queries = {};
  Positions keys = {};

  // The bias as a tensor [H, queries, keys]; undefined for none.
  at::Tensor Dense(int64_t num_queries, int64_t num_keys) const;
};

}  // namespace lextra

#endif  // LEXTRA_OPS_DISTANCE_BIAS_H_
