#include "tests/evaluator/scoring/dense_decoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "config/position_methods.h"
#include "config/resolve.h"

namespace lextra::testing {
namespace {

at::Tensor Linear(const Weights& weights, const std::string& name,
                  const at::Tensor& x) {
  return at::matmul(x, weights.at(name + ".weight").t()) +
         weights.at(name + ".bias");
}

at::Tensor LayerNorm(const Weights& weights, const std::string& name,
                     double epsilon, const at::Tensor& x) {
  const at::Tensor centered = x - x.mean(-1, /*keepdim=*/true);
  const at::Tensor variance = centered.square().mean(-1, /*keepdim=*/true);
  return centered / (variance + epsilon).sqrt() * weights.at(name + ".weight") +
         weights.at(name + ".bias");
}

// Scaled scores [B, H, T, S] of raw q and k [B, H, T, D] by the distance of
// each pair: a pair of columns is a complex number, and at distance n
// contributes the real part of q conj(k) e^(i n theta) zeta^(n / scale_base).
at::Tensor RotaryScores(const ModelConfig& model, const at::Tensor& q,
                        const at::Tensor& k, const at::Tensor& distance_TT) {
  const int64_t half = q.size(3) / 2;
  const auto complex = [&](const at::Tensor& x) {
    return at::view_as_complex(x.unflatten(3, {half, 2}).contiguous());
  };
  const at::Tensor qc = complex(q);
  const at::Tensor kc = complex(k).conj();
  at::Tensor scores =
      at::zeros({q.size(0), q.size(1), q.size(2), k.size(2)}, at::kDouble);
  for (int64_t i = 0; i < half; ++i) {
    const double fraction = static_cast<double>(i) / half;
    const double theta = std::pow(model.rotary_base(), -fraction);
    const double zeta =
        model.position_encoding() == XPOS
            ? (fraction + model.xpos_gamma()) / (1 + model.xpos_gamma())
            : 1;
    const at::Tensor turn =
        at::polar(at::pow(zeta, distance_TT / model.xpos_scale_base()),
                  distance_TT * theta);
    scores += at::real(qc.select(3, i).unsqueeze(3) *
                       kc.select(3, i).unsqueeze(2) * turn);
  }
  return scores;
}

at::Tensor Scores(const ModelConfig& model, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& distance_TT) {
  const double scale = std::sqrt(model.head_dim());
  if (FactsOf(model.position_encoding()).rotates) {
    return RotaryScores(model, q, k, distance_TT) / scale;
  }
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) / scale;
  if (model.position_encoding() != ALIBI) return scores;
  const at::Tensor h = at::arange(1, model.num_heads() + 1, at::kDouble);
  const at::Tensor slopes = at::pow(2.0, -8 * h / model.num_heads());
  return scores - slopes.view({-1, 1, 1}) * distance_TT;
}

at::Tensor SelfAttention(const ModelConfig& model, const Weights& weights,
                         const std::string& name, const at::Tensor& x,
                         const DenseMask& mask,
                         std::vector<at::Tensor>* all_scores) {
  const int64_t group = model.num_heads() / model.num_kv_heads();
  const auto heads = [&](const std::string& part, int64_t repeats) {
    return Linear(weights, name + "." + part, x)
        .unflatten(2, {-1, model.head_dim()})
        .repeat_interleave(repeats, 2)
        .transpose(1, 2);
  };
  const at::Tensor scores = Scores(model, heads("q_proj", 1),
                                   heads("k_proj", group), mask.distance_TT);
  if (all_scores != nullptr) all_scores->push_back(scores);
  const at::Tensor seen = scores.masked_fill(
      mask.visible_TT.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor out = at::matmul(seen.softmax(-1), heads("v_proj", group));
  return Linear(weights, name + ".out_proj", out.transpose(1, 2).flatten(2));
}

// What the method adds to the embeddings of T places.
at::Tensor PlaceRows(const ModelConfig& model, const Weights& weights,
                     int64_t num_places) {
  if (model.position_encoding() == LEARNED) {
    return weights.at("embed_positions.weight").narrow(0, 0, num_places);
  }
  const at::Tensor rows =
      at::zeros({num_places, model.hidden_size()}, at::kDouble);
  if (model.position_encoding() != SINUSOIDAL) return rows;
  for (int64_t n = 0; n < num_places; ++n) {
    for (int64_t column = 0; column < model.hidden_size(); ++column) {
      const double theta = std::pow(
          10000.0, -static_cast<double>(column / 2 * 2) / model.hidden_size());
      rows[n][column] =
          column % 2 == 0 ? std::sin(n * theta) : std::cos(n * theta);
    }
  }
  return rows;
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

DenseMask DenseMaskOf(const DocumentMask& mask, int64_t num_places) {
  DenseMask dense = {at::zeros({num_places, num_places}, at::kBool),
                     at::zeros({num_places, num_places}, at::kDouble)};
  auto visible = dense.visible_TT.accessor<bool, 2>();
  auto distance = dense.distance_TT.accessor<double, 2>();
  const int64_t h = mask.block;
  const int64_t window = mask.window;
  const int64_t sinks = mask.sinks;
  for (int64_t m = 0; m < num_places; ++m) {
    for (int64_t n = 0; n <= m; ++n) {
      const bool is_left_behind =
          mask.kind == WINDOW_AND_SINKS && m - n >= window;
      distance[m][n] = m - n;
      switch (mask.kind) {
        case CAUSAL:
          visible[m][n] = true;
          break;
        case BCA:
          visible[m][n] = n / h >= m / h - 1;
          break;
        default:
          visible[m][n] = m - n < window || (is_left_behind && n < sinks);
      }
      if (is_left_behind) {
        distance[m][n] = std::min(m, window + sinks - 1) - n;
      }
    }
  }
  return dense;
}

at::Tensor DenseNll(const ModelConfig& model, const Weights& weights,
                    const at::Tensor& tokens_BT, const DenseMask& mask,
                    std::vector<at::Tensor>* scores) {
  const auto norm = [&](const std::string& name, const at::Tensor& x) {
    return LayerNorm(weights, name, model.norm_epsilon(), x);
  };
  at::Tensor x = at::embedding(weights.at("embed_tokens.weight"), tokens_BT) *
                     model.embedding_scale() +
                 PlaceRows(model, weights, tokens_BT.size(1));
  for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
    const std::string name = "layers." + std::to_string(layer) + ".";
    x = x + SelfAttention(model, weights, name + "self_attn",
                          norm(name + "self_attn_layer_norm", x), mask, scores);
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
