#include "tests/testing/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace lextra::testing {

at::Tensor BoxOf(const at::Tensor& whole, const ShardedTensor& shard) {
  std::vector<int64_t> padding = whole.sizes().vec();
  padding[0] = shard.global_shape[0] - whole.size(0);
  at::Tensor part = at::cat({whole, at::zeros(padding, whole.options())});
  for (size_t dim = 0; dim < shard.box.shape.size(); ++dim) {
    part = part.narrow(static_cast<int64_t>(dim), shard.box.offset[dim],
                       shard.box.shape[dim]);
  }
  return part;
}

void LoadWeights(const NamedTensors& weights, Transformer& model) {
  const at::NoGradGuard no_gradients;
  for (const Parameter* parameter : model.parameters()) {
    for (const ShardedTensor& shard : parameter->Shards(parameter->leaf)) {
      const auto found = weights.find(shard.name);
      ASSERT_NE(found, weights.end()) << shard.name;
      shard.tensor.copy_(BoxOf(found->second, shard));
    }
  }
}

}  // namespace lextra::testing
