// The attention of one layer: y = out_proj(norm(attention(q_proj, k_proj,
// v_proj of x))), where norm, inner_attn_ln over all heads together, exists
// only with sub-LN. Heads are split over the tensor axis.
//
// Legend: B batch, T place, C width, E packed heads
// (model/attention/attention.h), H query heads, D head size; heads on this
// rank.
#ifndef LEXTRA_MODEL_SELF_ATTENTION_H_
#define LEXTRA_MODEL_SELF_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "model/attention/attention.h"
#include "model/norm.h"
#include "parallel/communicator.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {

class SelfAttention {
 public:
  // `layer` is passed to the attention. Parameters are name.q_proj,
  // name.k_proj, name.v_proj, name.inner_attn_ln, name.out_proj.
  SelfAttention(const ModelConfig& model, int64_t layer,
                const std::string& name, Communicator& tensor_axis,
                const Initializer& initialize);

  // x [B, T, C] -> [B, T, C], both replicated or both split by tokens: [B T /
  // P, C]. `length`: T.
  at::Tensor operator()(const at::Tensor& x, int64_t length,
                        Attention& attention, ActivationLayout layout);
  std::vector<Parameter*> parameters();

 private:
  int64_t layer_;
  int64_t head_dim_;
  ColumnParallelLinear qkv_proj_;
  std::optional<NormLayer> norm_;
  RowParallelLinear out_proj_;
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_SELF_ATTENTION_H_
