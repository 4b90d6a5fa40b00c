#include "tests/model/golden_decoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lextra::testing {

ModelConfig GoldenDecoderConfig(const std::string& name,
                                PositionMethod position, Precision precision) {
  const bool sub_ln = name == "subln";
  ModelConfig model;
  model.set_num_layers(sub_ln ? 3 : 2);
  model.set_width(sub_ln ? 48 : 32);
  model.set_num_heads(sub_ln ? 2 : 4);
  model.set_num_kv_heads(model.num_heads());
  model.set_head_size(model.width() / model.num_heads());
  model.set_ffn_width(sub_ln ? 112 : 64);
  model.set_vocab_size(97);
  model.set_training_length(sub_ln ? 20 : 32);
  model.set_sub_ln(sub_ln);
  model.set_tied_output(sub_ln);
  model.set_embedding_scale(sub_ln ? std::sqrt(48.0) : 1);
  model.set_position(position);
  model.set_precision(precision);
  return model;
}

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
    for (const ShardedTensor& shard :
         parameter->Shards(parameter->leaf, "", 0, 1, 0, 1)) {
      const auto found = weights.find(shard.name);
      ASSERT_NE(found, weights.end()) << shard.name;
      shard.tensor.copy_(BoxOf(found->second, shard));
    }
  }
}

}  // namespace lextra::testing
