#include "ops/distance_bias.h"

#include <ATen/ATen.h>

namespace lextra {

at::Tensor DistanceBias::Dense(int64_t num_queries, int64_t num_keys) const {
  if (!slopes_H.defined()) return {};
  const auto of = [&](const Positions& positions, int64_t count) {
    return positions.first +
           positions.step * at::arange(count, slopes_H.options());
  };
  const at::Tensor distances =
      of(queries, num_queries).unsqueeze(1) - of(keys, num_keys).unsqueeze(0);
  return -slopes_H.view({-1, 1, 1}) * distances;
}

}  // namespace lextra
