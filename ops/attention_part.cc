#include "ops/attention_part.h"

#include <ATen/Dispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/record_function.h>

#include <cmath>
#include <vector>

#include "ops/attention_operators.h"
#include "ops/cpu/attention.h"
#include "ops/head_view_of.h"
#include "ops/matmul.h"

namespace lextra {
namespace {

AttentionShape ShapeOf(const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, bool causal,
                       const DistanceBias& bias) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes() &&
                  q.size(0) == k.size(0) && q.size(3) == k.size(3) &&
                  k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              "attention of q ", q.sizes(), " over k ", k.sizes(), ", v ",
              v.sizes());
  TORCH_CHECK(k.size(1) > 0 || q.size(1) == 0, "attention of q ", q.sizes(),
              " over no keys");
  TORCH_CHECK(!causal || q.size(1) >= k.size(1),
              "causal attention of fewer queries than keys: q ", q.sizes(),
              ", k ", k.sizes());
  const at::Tensor& slopes = bias.slopes_H;
  TORCH_CHECK(!slopes.defined() ||
                  (slopes.dim() == 1 && slopes.size(0) == q.size(2) &&
                   slopes.is_contiguous() && slopes.device() == q.device() &&
                   slopes.scalar_type() == StatisticsType(q.scalar_type())),
              "slopes ", slopes.defined() ? slopes.sizes() : at::IntArrayRef(),
              " of the bias of q ", q.sizes(), " ", q.dtype());
  return {.batch = q.size(0),
          .queries = q.size(1),
          .keys = k.size(1),
          .heads = q.size(2),
          .kv_heads = k.size(2),
          .head_dim = q.size(3),
          .scale = 1 / std::sqrt(static_cast<double>(q.size(3))),
          .causal = causal};
}

AttentionOperator OperatorFor(const AttentionShape& shape, const at::Tensor& q,
                              const DistanceBias& bias) {
  return ChooseOperator(q.scalar_type(), shape.head_dim,
                        shape.queries == shape.keys, shape.causal,
                        bias.slopes_H.defined());
}

template <typename Scalar>
AttentionOperands<Scalar> OperandsOf(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v,
                                     const DistanceBias& bias) {
  const at::Tensor& slopes = bias.slopes_H;
  return {
      .q = HeadVectorsOf<const Scalar>(q),
      .k = HeadVectorsOf<const Scalar>(k),
      .v = HeadVectorsOf<const Scalar>(v),
      .slopes = slopes.defined() ? slopes.const_data_ptr<Scalar>() : nullptr,
      .distance = bias.queries.first - bias.keys.first,
      .query_step = bias.queries.step,
      .key_step = bias.keys.step};
}

template <typename Scalar>
AttentionResult<Scalar> ResultOf(const AttentionPart& part) {
  return {.out = HeadVectorsOf<Scalar>(part.out_BTHD),
          .lse = HeadVectorsOf<Scalar>(part.lse_BTH.unsqueeze(-1))};
}

void CheckResult(const AttentionPart& part, const at::Tensor& q) {
  TORCH_CHECK(part.out_BTHD.sizes() == q.sizes() &&
                  part.lse_BTH.sizes() == q.sizes().slice(0, 3),
              "attention of q ", q.sizes(), " with out ", part.out_BTHD.sizes(),
              " and lse ", part.lse_BTH.sizes());
}

void AttendOnCpu(const AttentionShape& shape, const at::Tensor& q,
                 const at::Tensor& k, const at::Tensor& v,
                 const DistanceBias& bias, const AttentionPart& result,
                 bool merge) {
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "Attend", [&] {
    AttendOnCpu<scalar_t>(shape, OperandsOf<scalar_t>(q, k, v, bias),
                          ResultOf<scalar_t>(result), merge);
  });
}

// whole <- whole merged with `part`.
void MergeInto(const AttentionPart& whole, const AttentionPart& part) {
  const at::Tensor lse = at::logaddexp(whole.lse_BTH, part.lse_BTH);
  const auto weight = [&](const at::Tensor& own) {
    return at::exp(own - lse).unsqueeze(-1);
  };
  if (whole.out_BTHD.scalar_type() == at::kBFloat16) {
    // Weighted in fp32 and rounded once.
    const at::Tensor out = whole.out_BTHD * weight(whole.lse_BTH);
    whole.out_BTHD.copy_(
        out.addcmul_(part.out_BTHD.to(at::kFloat), weight(part.lse_BTH)));
  } else {
    whole.out_BTHD.mul_(weight(whole.lse_BTH));
    whole.out_BTHD.addcmul_(part.out_BTHD.to(whole.out_BTHD.scalar_type()),
                            weight(part.lse_BTH));
  }
  whole.lse_BTH.copy_(lse);
}

}  // namespace

AttentionPart Attend(const at::Tensor& q_BTHD, const at::Tensor& k_BSKD,
                     const at::Tensor& v_BSKD, bool causal,
                     const DistanceBias& bias) {
  RECORD_USER_SCOPE("attention: Attend");
  const AttentionShape shape = ShapeOf(q_BTHD, k_BSKD, v_BSKD, causal, bias);
  if (q_BTHD.is_cuda() && q_BTHD.numel() > 0) {
    return AttendWith(OperatorFor(shape, q_BTHD, bias), q_BTHD, k_BSKD, v_BSKD,
                      causal, bias.Dense(shape.queries, shape.keys));
  }
  if (q_BTHD.scalar_type() == at::kBFloat16) {
    const AttentionPart part =
        Attend(q_BTHD.to(at::kFloat), k_BSKD.to(at::kFloat),
               v_BSKD.to(at::kFloat), causal, bias);
    return {part.out_BTHD.to(at::kBFloat16), part.lse_BTH};
  }
  const AttentionPart part = {
      at::empty({shape.batch, shape.queries, shape.heads, shape.head_dim},
                q_BTHD.options()),
      at::empty({shape.batch, shape.queries, shape.heads}, q_BTHD.options())};
  AttendOnCpu(shape, q_BTHD, k_BSKD, v_BSKD, bias, part, /*merge=*/false);
  return part;
}

void AttendMore(const AttentionPart& whole, const at::Tensor& q_BTHD,
                const at::Tensor& k_BSKD, const at::Tensor& v_BSKD, bool causal,
                const DistanceBias& bias) {
  RECORD_USER_SCOPE("attention: AttendMore");
  if (q_BTHD.is_cpu() && q_BTHD.scalar_type() == at::kBFloat16 &&
      whole.out_BTHD.scalar_type() == at::kFloat) {
    AttendMore(whole, q_BTHD.to(at::kFloat), k_BSKD.to(at::kFloat),
               v_BSKD.to(at::kFloat), causal, bias);
    return;
  }
  if (q_BTHD.is_cuda() || q_BTHD.scalar_type() == at::kBFloat16) {
    MergeInto(whole, Attend(q_BTHD, k_BSKD, v_BSKD, causal, bias));
    return;
  }
  const AttentionShape shape = ShapeOf(q_BTHD, k_BSKD, v_BSKD, causal, bias);
  CheckResult(whole, q_BTHD);
  AttendOnCpu(shape, q_BTHD, k_BSKD, v_BSKD, bias, whole, /*merge=*/true);
}

void AttendBackward(const at::Tensor& dout_BTHD, const at::Tensor& q_BTHD,
                    const at::Tensor& k_BSKD, const at::Tensor& v_BSKD,
                    const AttentionPart& merged, bool causal,
                    const DistanceBias& bias, const at::Tensor& dq_BTHD,
                    const at::Tensor& dk_BSKD, const at::Tensor& dv_BSKD,
                    bool accumulate) {
  RECORD_USER_SCOPE("attention: AttendBackward");
  const AttentionShape shape = ShapeOf(q_BTHD, k_BSKD, v_BSKD, causal, bias);
  CheckResult(merged, q_BTHD);
  TORCH_CHECK(dout_BTHD.sizes() == q_BTHD.sizes() &&
                  dq_BTHD.sizes() == q_BTHD.sizes() &&
                  dk_BSKD.sizes() == k_BSKD.sizes() &&
                  dv_BSKD.sizes() == v_BSKD.sizes(),
              "gradients of attention of q ", q_BTHD.sizes(), " over k ",
              k_BSKD.sizes(), " from ", dout_BTHD.sizes());
  TORCH_CHECK(shape.queries > 0, "gradients of attention without queries");
  if (q_BTHD.is_cuda()) {
    // LibTorch's operators need at least one row.
    if (q_BTHD.numel() == 0) {
      if (!accumulate) {
        dk_BSKD.zero_();
        dv_BSKD.zero_();
      }
      return;
    }
    const PartGradients gradients = AttendBackwardWith(
        OperatorFor(shape, q_BTHD, bias), dout_BTHD, q_BTHD, k_BSKD, v_BSKD,
        merged, causal, bias.Dense(shape.queries, shape.keys));
    const auto give = [&](const at::Tensor& to, const at::Tensor& gradient) {
      accumulate ? to.add_(gradient) : to.copy_(gradient);
    };
    give(dq_BTHD, gradients.dq_BTHD);
    give(dk_BSKD, gradients.dk_BSKD);
    give(dv_BSKD, gradients.dv_BSKD);
    return;
  }
  if (q_BTHD.scalar_type() == at::kBFloat16) {
    const auto wide = [](const at::Tensor& x) { return x.to(at::kFloat); };
    const at::Tensor dq = wide(dq_BTHD);
    const at::Tensor dk = wide(dk_BSKD);
    const at::Tensor dv = wide(dv_BSKD);
    AttendBackward(wide(dout_BTHD), wide(q_BTHD), wide(k_BSKD), wide(v_BSKD),
                   {wide(merged.out_BTHD), merged.lse_BTH}, causal, bias, dq,
                   dk, dv, accumulate);
    dq_BTHD.copy_(dq);
    dk_BSKD.copy_(dk);
    dv_BSKD.copy_(dv);
    return;
  }
  AT_DISPATCH_FLOATING_TYPES(q_BTHD.scalar_type(), "AttendBackward", [&] {
    AttendBackwardOnCpu<scalar_t>(
        shape, OperandsOf<scalar_t>(q_BTHD, k_BSKD, v_BSKD, bias),
        ResultOf<const scalar_t>(merged),
        HeadVectorsOf<const scalar_t>(dout_BTHD),
        {.dq = HeadVectorsOf<scalar_t>(dq_BTHD),
         .dk = HeadVectorsOf<scalar_t>(dk_BSKD),
         .dv = HeadVectorsOf<scalar_t>(dv_BSKD)},
        accumulate);
  });
}

}  // namespace lextra
