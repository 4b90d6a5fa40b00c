#include "tests/model/reference.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <limits>

namespace lextra::testing {
namespace {

// Pairs of x [B, N, H, D] rotated by n theta_i and scaled by
// zeta_i^(sign * (n - N / 2) / scale_base).
at::Tensor Rotated(const at::Tensor& x, const ModelConfig& model, double sign) {
  if (model.position_encoding() == NONE || model.position_encoding() == ALIBI)
    return x;
  const int64_t pairs = x.size(3) / 2;
  const at::Tensor i = at::arange(pairs, at::kDouble) / pairs;
  const at::Tensor n = at::arange(x.size(1), at::kDouble);
  const at::Tensor theta = at::pow(model.rotary_base(), -i);
  at::Tensor factor = at::ones({x.size(1), pairs}, at::kDouble);
  if (model.position_encoding() == XPOS) {
    const double gamma = model.xpos_gamma();
    const at::Tensor zeta = (i + gamma) / (1 + gamma);
    const at::Tensor exponent = sign *
                                (n - static_cast<double>(x.size(1)) / 2) /
                                model.xpos_scale_base();
    factor = at::pow(zeta.unsqueeze(0), exponent.unsqueeze(1));
  }
  const at::Tensor angle = at::outer(n, theta);
  const at::Tensor turn = at::polar(factor, angle).unsqueeze(1);
  const at::Tensor complex =
      at::view_as_complex(x.reshape({x.size(0), x.size(1), x.size(2), -1, 2}));
  return at::view_as_real(complex * turn).flatten(3);
}

// ALiBi's slopes, from those of powers of two (Press et al. 2022).
at::Tensor Slopes(int64_t num_heads) {
  int64_t power = 1;
  while (2 * power <= num_heads) power *= 2;
  const at::Tensor h = at::arange(1, power + 1, at::kDouble);
  const at::Tensor slopes = at::pow(2.0, -8 * h / power);
  if (power == num_heads) return slopes;
  return at::cat({slopes, Slopes(2 * power)
                              .slice(0, 0, c10::nullopt, 2)
                              .narrow(0, 0, num_heads - power)});
}

// -m_h (m - n) of ALiBi; or undefined.
at::Tensor Bias(const ModelConfig& model, int64_t length) {
  if (model.position_encoding() != ALIBI) return {};
  const at::Tensor n = at::arange(length, at::kDouble);
  return -Slopes(model.num_heads()).view({-1, 1, 1}) *
         (n.unsqueeze(1) - n.unsqueeze(0));
}

}  // namespace

ModelConfig HeadsConfig(int64_t num_heads, int64_t num_kv_heads,
                        int64_t head_dim, PositionMethod position,
                        Precision precision) {
  ModelConfig model;
  model.set_num_heads(num_heads);
  model.set_num_kv_heads(num_kv_heads);
  model.set_head_dim(head_dim);
  model.set_position_encoding(position);
  model.set_precision(precision);
  return model;
}

at::Tensor CausalMask(int64_t length) {
  const at::Tensor n = at::arange(length, at::kLong);
  return n.unsqueeze(0) <= n.unsqueeze(1);
}

at::Tensor BlockwiseMask(int64_t length, int64_t block) {
  const at::Tensor b = at::arange(length, at::kLong).floor_divide(block);
  return CausalMask(length).logical_and(b.unsqueeze(0) >= b.unsqueeze(1) - 1);
}

DenseResult DenseAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& visible,
                           const at::Tensor& bias) {
  const int64_t group = q.size(2) / k.size(2);
  const at::Tensor keys = k.repeat_interleave(group, 2);
  const at::Tensor values = v.repeat_interleave(group, 2);
  at::Tensor scores = at::einsum("bthd,bshd->bhts", {q, keys}) /
                      std::sqrt(static_cast<double>(q.size(3)));
  if (bias.defined()) scores = scores + bias;
  scores = scores.masked_fill(visible.logical_not(),
                              -std::numeric_limits<double>::infinity());
  return {at::einsum("bhts,bshd->bthd", {scores.softmax(-1), values}),
          scores.logsumexp(-1).transpose(1, 2)};
}

at::Tensor DensePacked(const at::Tensor& qkv_BNED, const ModelConfig& model,
                       const at::Tensor& visible) {
  const std::vector<at::Tensor> heads =
      qkv_BNED.to(at::kDouble)
          .split_with_sizes(
              {model.num_heads(), model.num_kv_heads(), model.num_kv_heads()},
              2);
  return DenseAttention(Rotated(heads[0], model, 1),
                        Rotated(heads[1], model, -1), heads[2], visible,
                        Bias(model, qkv_BNED.size(1)))
      .out_BTHD;
}

at::Tensor ToBlocks(const at::Tensor& x, int64_t block) {
  const int64_t blocks = (x.size(1) + block - 1) / block;
  std::vector<int64_t> shape = x.sizes().vec();
  shape[1] = blocks * block - x.size(1);
  const at::Tensor padded = at::cat({x, at::zeros(shape, x.options())}, 1);
  std::vector<int64_t> split = x.sizes().vec();
  split[1] = blocks;
  split.insert(split.begin() + 2, block);
  return padded.view(split).transpose(0, 1).flatten(0, 1).contiguous();
}

at::Tensor FromBlocks(const at::Tensor& blocks, int64_t num_documents,
                      int64_t length) {
  std::vector<int64_t> split = blocks.sizes().vec();
  split[0] = num_documents;
  split.insert(split.begin(), blocks.size(0) / num_documents);
  return blocks.view(split).transpose(0, 1).flatten(1, 2).narrow(1, 0, length);
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::empty(shape, at::kDouble)
      .normal_(0, 1, at::make_generator<at::CPUGeneratorImpl>(seed));
}

at::Tensor ScoresByDistance(const ModelConfig& model, const at::Tensor& q_TD,
                            const at::Tensor& k_SD, int64_t first_query) {
  const int64_t num_pairs = q_TD.size(1) / 2;
  const auto pairs = [&](const at::Tensor& x) {
    return at::view_as_complex(x.unflatten(1, {num_pairs, 2}));
  };
  const at::Tensor m = at::arange(first_query, first_query + q_TD.size(0));
  const at::Tensor distance =
      (m.unsqueeze(1) - at::arange(k_SD.size(0)).unsqueeze(0)).to(at::kDouble);
  at::Tensor scores;
  for (int64_t i = 0; i < num_pairs; ++i) {
    const double gamma = model.xpos_gamma();
    const double zeta =
        (static_cast<double>(i) / num_pairs + gamma) / (1 + gamma);
    const at::Tensor turn =
        at::polar((distance * (std::log(zeta) / model.xpos_scale_base())).exp(),
                  distance * std::pow(model.rotary_base(),
                                      -static_cast<double>(i) / num_pairs));
    const at::Tensor part =
        at::real(pairs(q_TD).select(1, i).unsqueeze(1) *
                 pairs(k_SD).select(1, i).conj().unsqueeze(0) * turn);
    scores = i == 0 ? part : scores + part;
  }
  return scores / std::sqrt(2.0 * num_pairs);
}

}  // namespace lextra::testing
