#include "ops/attention_operators.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

#include "base/math.h"
#include "ops/matmul.h"

// Legend: that of ops/attention_part.h; G = H / K query heads for each
// key/value head. LibTorch's operators take [B, H, T, D].
namespace lextra {
namespace {

constexpr AttentionOperator kAll[] = {
    AttentionOperator::kFlash, AttentionOperator::kCudnn,
    AttentionOperator::kEfficient, AttentionOperator::kProducts};

double ScaleOf(const at::Tensor& q_BTHD) {
  return 1 / std::sqrt(static_cast<double>(q_BTHD.size(3)));
}

// For the plain form: queries [B, K, G, T, D]; keys or values [B, K, 1, S, D];
// in the dtype of the statistics.
at::Tensor Grouped(const at::Tensor& x_BTHD, int64_t num_groups) {
  return x_BTHD.to(StatisticsType(x_BTHD.scalar_type()))
      .transpose(1, 2)
      .unflatten(1, {num_groups, -1});
}

// The inverse: [B, T, H, D].
at::Tensor Ungrouped(const at::Tensor& x_BKGTD) {
  return x_BKGTD.flatten(1, 2).transpose(1, 2);
}

// Scaled, biased and masked, [B, K, G, T, S].
at::Tensor Scores(const at::Tensor& q_BTHD, const at::Tensor& k_BSKD,
                  bool causal, const at::Tensor& bias) {
  const int64_t num_groups = k_BSKD.size(2);
  at::Tensor scores = at::matmul(Grouped(q_BTHD, num_groups),
                                 Grouped(k_BSKD, num_groups).transpose(3, 4))
                          .mul_(ScaleOf(q_BTHD));
  if (bias.defined()) scores.add_(bias.unflatten(0, {num_groups, -1}));
  if (causal) {
    const at::Tensor later = at::ones({scores.size(3), scores.size(4)},
                                      scores.options().dtype(at::kBool))
                                 .triu_(1);
    scores.masked_fill_(later, -std::numeric_limits<double>::infinity());
  }
  return scores;
}

AttentionPart AttendByProducts(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, bool causal,
                               const at::Tensor& bias) {
  at::Tensor scores = Scores(q, k, causal, bias);
  const at::Tensor lse_BKGT = scores.logsumexp(4);
  const at::Tensor out_BKGTD = at::matmul(
      scores.sub_(lse_BKGT.unsqueeze(4)).exp_(), Grouped(v, v.size(2)));
  return {Ungrouped(out_BKGTD).to(q.scalar_type()).contiguous(),
          Ungrouped(lse_BKGT.unsqueeze(4)).squeeze(3).contiguous()};
}

PartGradients BackwardByProducts(const at::Tensor& dout, const at::Tensor& q,
                                 const at::Tensor& k, const at::Tensor& v,
                                 const AttentionPart& merged, bool causal,
                                 const at::Tensor& bias) {
  const int64_t num_groups = k.size(2);
  const at::Tensor dout_BKGTD = Grouped(dout, num_groups);
  const at::Tensor lse_BKGT1 = Grouped(merged.lse_BTH.unsqueeze(3), num_groups);
  const at::Tensor p_BKGTS = Scores(q, k, causal, bias).sub_(lse_BKGT1).exp_();
  const at::Tensor dot_BKGT1 =
      (dout_BKGTD * Grouped(merged.out_BTHD, num_groups)).sum(4, true);
  const at::Tensor dscores_BKGTS =
      at::matmul(dout_BKGTD, Grouped(v, num_groups).transpose(3, 4))
          .sub_(dot_BKGT1)
          .mul_(p_BKGTS)
          .mul_(ScaleOf(q));
  const auto over_group = [](const at::Tensor& a_BKGTS,
                             const at::Tensor& b_BKGTD) {
    return Ungrouped(
        at::matmul(a_BKGTS.transpose(3, 4), b_BKGTD).sum(2, /*keepdim=*/true));
  };
  return {Ungrouped(at::matmul(dscores_BKGTS, Grouped(k, num_groups))),
          over_group(dscores_BKGTS, Grouped(q, num_groups)),
          over_group(p_BKGTS, dout_BKGTD)};
}

// For the fused operators: [B, H, T, D], a view; key/value heads repeated for
// their query heads.
at::Tensor HeadsFirst(const at::Tensor& x_BTHD, int64_t num_heads) {
  if (x_BTHD.size(2) == num_heads) return x_BTHD.transpose(1, 2);
  return x_BTHD
      .repeat_interleave(num_heads / x_BTHD.size(2), 2,
                         /*output_size=*/num_heads)
      .transpose(1, 2);
}

// The gradient of repeated heads: [B, S, K, D].
at::Tensor SumOfRepeats(const at::Tensor& dx_BHSD, int64_t num_kv_heads) {
  const at::Tensor dx_BSHD = dx_BHSD.transpose(1, 2);
  if (dx_BSHD.size(2) == num_kv_heads) return dx_BSHD;
  return dx_BSHD.unflatten(2, {num_kv_heads, -1}).sum(3);
}

// From an operator's outputs: lse may be [B, H, T], [B, H, T, 1], or longer
// than T.
AttentionPart PartOf(const at::Tensor& out_BHTD, const at::Tensor& lse) {
  return {out_BHTD.transpose(1, 2).contiguous(),
          lse.view({lse.size(0), lse.size(1), -1})
              .narrow(2, 0, out_BHTD.size(2))
              .transpose(1, 2)
              .contiguous()};
}

AttentionPart AttendFused(AttentionOperator which, const at::Tensor& q_BTHD,
                          const at::Tensor& k_BSKD, const at::Tensor& v_BSKD,
                          bool causal) {
  const int64_t num_heads = q_BTHD.size(2);
  const at::Tensor q = HeadsFirst(q_BTHD, num_heads);
  const at::Tensor k = HeadsFirst(k_BSKD, num_heads);
  const at::Tensor v = HeadsFirst(v_BSKD, num_heads);
  const double scale = ScaleOf(q_BTHD);
  if (which == AttentionOperator::kFlash) {
    const auto result = at::_scaled_dot_product_flash_attention(
        q, k, v, /*dropout_p=*/0.0, causal, /*return_debug_mask=*/false, scale);
    return PartOf(std::get<0>(result), std::get<1>(result));
  }
  if (which == AttentionOperator::kCudnn) {
    const auto result = at::_scaled_dot_product_cudnn_attention(
        q, k, v, /*attn_bias=*/std::nullopt, /*compute_log_sumexp=*/true,
        /*dropout_p=*/0.0, causal, /*return_debug_mask=*/false, scale);
    return PartOf(std::get<0>(result), std::get<1>(result));
  }
  const auto result = at::_scaled_dot_product_efficient_attention(
      q, k, v, /*attn_bias=*/std::nullopt, /*compute_log_sumexp=*/true,
      /*dropout_p=*/0.0, causal, scale);
  return PartOf(std::get<0>(result), std::get<1>(result));
}

// lse as the memory-efficient kernels keep it: rows padded to a multiple of 32
// with values that make probabilities 0.
at::Tensor PaddedLse(const at::Tensor& lse_BHT) {
  constexpr int64_t kAlignment = 32;
  const int64_t length = lse_BHT.size(2);
  const int64_t padded = RoundUp(length, kAlignment);
  return at::constant_pad_nd(lse_BHT, {0, padded - length},
                             std::numeric_limits<double>::infinity())
      .contiguous();
}

PartGradients BackwardFused(AttentionOperator which,
                            const at::Tensor& dout_BTHD,
                            const at::Tensor& q_BTHD, const at::Tensor& k_BSKD,
                            const at::Tensor& v_BSKD,
                            const AttentionPart& merged, bool causal) {
  const int64_t num_heads = q_BTHD.size(2);
  const at::Tensor dout = HeadsFirst(dout_BTHD, num_heads);
  const at::Tensor q = HeadsFirst(q_BTHD, num_heads);
  const at::Tensor k = HeadsFirst(k_BSKD, num_heads);
  const at::Tensor v = HeadsFirst(v_BSKD, num_heads);
  const at::Tensor out = HeadsFirst(merged.out_BTHD, num_heads);
  const at::Tensor lse = merged.lse_BTH.transpose(1, 2).contiguous();
  const double scale = ScaleOf(q_BTHD);
  // No dropout, so the random state is not read.
  const at::Tensor no_random = at::empty({}, q.options().dtype(at::kLong));
  const at::Tensor none;
  std::array<at::Tensor, 3> gradients;
  if (which == AttentionOperator::kFlash) {
    std::tie(gradients[0], gradients[1], gradients[2]) =
        at::_scaled_dot_product_flash_attention_backward(
            dout, q, k, v, out, lse, none, none, q.size(2), k.size(2),
            /*dropout_p=*/0.0, causal, no_random, no_random, scale);
  } else if (which == AttentionOperator::kCudnn) {
    std::tie(gradients[0], gradients[1], gradients[2]) =
        at::_scaled_dot_product_cudnn_attention_backward(
            dout, q, k, v, out, lse.unsqueeze(3), no_random, no_random, none,
            none, none, q.size(2), k.size(2), /*dropout_p=*/0.0, causal, scale);
  } else {
    at::Tensor no_dbias;
    std::tie(gradients[0], gradients[1], gradients[2], no_dbias) =
        at::_scaled_dot_product_efficient_attention_backward(
            dout, q, k, v, none, out, PaddedLse(lse), no_random, no_random,
            /*dropout_p=*/0.0, {true, true, true, false}, causal, scale);
  }
  return {gradients[0].transpose(1, 2),
          SumOfRepeats(gradients[1], k_BSKD.size(2)),
          SumOfRepeats(gradients[2], k_BSKD.size(2))};
}

}  // namespace

const char* NameOf(AttentionOperator which) {
  switch (which) {
    case AttentionOperator::kFlash:
      return "flash";
    case AttentionOperator::kCudnn:
      return "cudnn";
    case AttentionOperator::kEfficient:
      return "efficient";
    case AttentionOperator::kProducts:
      return "products";
  }
  return "unknown";
}

bool Takes(AttentionOperator which, at::ScalarType type, int64_t head_dim,
           bool equal_lengths, bool causal, bool biased) {
  if (which == AttentionOperator::kProducts) return true;
  if (biased || (causal && !equal_lengths)) return false;
  switch (which) {
    case AttentionOperator::kFlash:
      return type == at::kBFloat16 && head_dim % 8 == 0 && head_dim <= 256;
    case AttentionOperator::kCudnn:
      return type == at::kBFloat16 && head_dim % 8 == 0 && head_dim <= 128 &&
             !at::globalContext().deterministicAlgorithms();
    default:
      return type == at::kFloat && head_dim % 4 == 0;
  }
}

AttentionOperator ChooseOperator(at::ScalarType type, int64_t head_dim,
                                 bool equal_lengths, bool causal, bool biased) {
  const auto takes = [&](AttentionOperator which) {
    return Takes(which, type, head_dim, equal_lengths, causal, biased);
  };
  if (const char* wanted = std::getenv("LEXTRA_ATTENTION")) {
    const auto* const named = std::find_if(
        std::begin(kAll), std::end(kAll),
        [&](auto which) { return std::string(wanted) == NameOf(which); });
    TORCH_CHECK(named != std::end(kAll), "LEXTRA_ATTENTION=", wanted,
                ": expected flash, cudnn, efficient or products");
    if (takes(*named)) return *named;
  }
  for (const AttentionOperator which :
       {AttentionOperator::kFlash, AttentionOperator::kEfficient}) {
    if (takes(which)) return which;
  }
  return AttentionOperator::kProducts;
}

AttentionPart AttendWith(AttentionOperator which, const at::Tensor& q_BTHD,
                         const at::Tensor& k_BSKD, const at::Tensor& v_BSKD,
                         bool causal, const at::Tensor& bias) {
  return which == AttentionOperator::kProducts
             ? AttendByProducts(q_BTHD, k_BSKD, v_BSKD, causal, bias)
             : AttendFused(which, q_BTHD, k_BSKD, v_BSKD, causal);
}

PartGradients AttendBackwardWith(AttentionOperator which,
                                 const at::Tensor& dout_BTHD,
                                 const at::Tensor& q_BTHD,
                                 const at::Tensor& k_BSKD,
                                 const at::Tensor& v_BSKD,
                                 const AttentionPart& merged, bool causal,
                                 const at::Tensor& bias) {
  return which == AttentionOperator::kProducts
             ? BackwardByProducts(dout_BTHD, q_BTHD, k_BSKD, v_BSKD, merged,
                                  causal, bias)
             : BackwardFused(which, dout_BTHD, q_BTHD, k_BSKD, v_BSKD, merged,
                             causal);
}

}  // namespace lextra
