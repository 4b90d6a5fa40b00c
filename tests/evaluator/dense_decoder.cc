#include "tests/evaluator/dense_decoder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace lextra::testing {
namespace {

at::Tensor Linear(const Weights& weights, const std::string& name,
                  const at::Tensor& x) {
  return at::matmul(x, weights.at(name + ".weight").t()) +
         weights.at(name + ".bias");
}

at::Tensor LayerNorm(const Weights& weights, const std::string& name,
                     double epsilon, const at::Tensor& x) {
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor variance = centred.square().mean(-1, /*keepdim=*/true);
  return centred / (variance + epsilon).sqrt() * weights.at(name + ".weight") +
         weights.at(name + ".bias");
}

// x [B, T, H, D] rotated by position and scaled by zeta^(sign * position /
// scale_base).
at::Tensor Xpos(const ModelConfig& model, const at::Tensor& x, double sign) {
  const int64_t half = x.size(3) / 2;
  const at::Tensor i = at::arange(half, at::kDouble);
  const at::Tensor n = at::arange(x.size(1), at::kDouble).unsqueeze(1);
  const at::Tensor angle = n * at::pow(model.rotary_base(), i.mul(-1.0 / half));
  const at::Tensor zeta =
      (i / half + model.xpos_gamma()) / (1 + model.xpos_gamma());
  const at::Tensor factor = at::pow(zeta, n * (sign / model.xpos_scale_base()));
  const at::Tensor cos = (angle.cos() * factor).unsqueeze(1);
  const at::Tensor sin = (angle.sin() * factor).unsqueeze(1);
  const at::Tensor pairs = x.unflatten(3, {half, 2});
  const at::Tensor first = pairs.select(4, 0);
  const at::Tensor second = pairs.select(4, 1);
  return at::stack({first * cos - second * sin, first * sin + second * cos}, 4)
      .flatten(3);
}

at::Tensor SelfAttention(const ModelConfig& model, const Weights& weights,
                         const std::string& name, const at::Tensor& x,
                         const at::Tensor& mask) {
  const int64_t group = model.num_heads() / model.num_kv_heads();
  const auto heads = [&](const std::string& part, int64_t repeats) {
    return Linear(weights, name + "." + part, x)
        .unflatten(2, {-1, model.head_size()})
        .repeat_interleave(repeats, 2);
  };
  const at::Tensor q = Xpos(model, heads("q_proj", 1), 1).transpose(1, 2);
  const at::Tensor k = Xpos(model, heads("k_proj", group), -1).transpose(1, 2);
  const at::Tensor v = heads("v_proj", group).transpose(1, 2);
  const at::Tensor scores =
      (at::matmul(q, k.transpose(2, 3)) / std::sqrt(model.head_size()))
          .masked_fill(mask.logical_not(),
                       -std::numeric_limits<double>::infinity());
  const at::Tensor out = at::matmul(scores.softmax(-1), v);
  return Linear(weights, name + ".out_proj", out.transpose(1, 2).flatten(2));
}

}  // namespace

Weights WeightsOf(Transformer& model) {
  Weights weights;
  for (Parameter* parameter : model.parameters()) {
    for (const Parameter::Piece& piece : parameter->pieces) {
      TORCH_CHECK(piece.box.shape == piece.global_shape, piece.name,
                  " is split");
      weights[piece.name] = parameter->leaf.detach()
                                .narrow(0, piece.first_row, piece.box.shape[0])
                                .to(at::kDouble);
    }
  }
  return weights;
}

at::Tensor CausalMask(int64_t num_places) {
  return at::ones({num_places, num_places}, at::kBool).tril();
}

at::Tensor BlockwiseMask(int64_t num_places, int64_t block) {
  const at::Tensor place = at::arange(num_places);
  const at::Tensor of_block = at::div(place, block, "floor");
  const at::Tensor near = of_block.unsqueeze(0) >= of_block.unsqueeze(1) - 1;
  return CausalMask(num_places).logical_and(near);
}

at::Tensor DenseNll(const ModelConfig& model, const Weights& weights,
                    const at::Tensor& tokens_BT, const at::Tensor& mask_TT) {
  const auto norm = [&](const std::string& name, const at::Tensor& x) {
    return LayerNorm(weights, name, model.norm_epsilon(), x);
  };
  at::Tensor x = at::embedding(weights.at("embed_tokens.weight"), tokens_BT) *
                 model.embedding_scale();
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    const std::string name = "layers." + std::to_string(layer) + ".";
    x = x + SelfAttention(model, weights, name + "self_attn",
                          norm(name + "self_attn_layer_norm", x), mask_TT);
    const at::Tensor inner = at::gelu(
        Linear(weights, name + "ffn.fc1", norm(name + "final_layer_norm", x)));
    x = x + Linear(weights, name + "ffn.fc2", inner);
  }
  const at::Tensor logits = at::matmul(
      norm("layer_norm", x),
      weights.at("embed_tokens.weight").narrow(0, 0, model.vocab_size()).t());
  const int64_t num_targets = tokens_BT.size(1) - 1;
  return logits.log_softmax(-1)
      .narrow(1, 0, num_targets)
      .gather(2, tokens_BT.narrow(1, 1, num_targets).unsqueeze(2))
      .squeeze(2)
      .neg();
}

}  // namespace lextra::testing
