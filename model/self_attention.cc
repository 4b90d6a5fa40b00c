#include "model/self_attention.h"

namespace lextra {

SelfAttention::SelfAttention(const ModelConfig& model, int64_t layer,
                             const std::string& name, Communicator& tensor_axis,
                             const Initializer& initialize)
    : layer_(layer),
      head_dim_(model.head_dim()),
      qkv_proj_(tensor_axis,
                {{name + ".q_proj", int64_t{model.num_heads()} * head_dim_},
                 {name + ".k_proj", int64_t{model.num_kv_heads()} * head_dim_},
                 {name + ".v_proj", int64_t{model.num_kv_heads()} * head_dim_}},
                model.hidden_size(), model.bias(), initialize),
      out_proj_(tensor_axis, name + ".out_proj", model.hidden_size(),
                int64_t{model.num_heads()} * head_dim_, model.bias(),
                initialize) {
  if (model.sub_ln()) {
    norm_.emplace(model.norm(), name + ".inner_attn_ln",
                  int64_t{model.num_heads()} * head_dim_, model.norm_epsilon(),
                  model.bias(), &tensor_axis, initialize);
  }
}

at::Tensor SelfAttention::operator()(const at::Tensor& x, int64_t length,
                                     Attention& attention,
                                     ActivationLayout layout) {
  const at::Tensor qkv = qkv_proj_(x, layout);
  const at::Tensor qkv_BTED =
      qkv.view({-1, length, qkv.size(-1) / head_dim_, head_dim_});
  at::Tensor out = attention(layer_, qkv_BTED).flatten(2);
  if (norm_) out = (*norm_)(out);
  return out_proj_(out, layout);
}

std::vector<Parameter*> SelfAttention::parameters() {
  std::vector<Parameter*> all = qkv_proj_.parameters();
  const auto append = [&](const std::vector<Parameter*>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  if (norm_) append(norm_->parameters());
  append(out_proj_.parameters());
  return all;
}

}  // namespace lextra
