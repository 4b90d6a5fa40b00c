// One rectangle of attention scores, and the merge of several.
//
// A mask is a short list of parts: each part is exact softmax attention of some
// queries over some keys, together with the logarithm of its sum of
// exponentials; parts over disjoint keys merge into attention over their union:
//   L = log(e^a + e^b),  out = e^(a-L) out_a + e^(b-L) out_b.
// The backward pass of a part, given the MERGED out and L, is the exact
// gradient of the whole with respect to the part's queries, keys and values
// (docs/method.md section 2), because P = exp(S - L) are the merged
// probabilities.
//
// On CPUs by our own kernels (bfloat16 is computed in fp32 and rounded once),
// on GPUs by LibTorch's operators (ops/attention_operators.h).
//
// Legend: B batch, T queries, S keys, H query heads, K key/value heads (H is a
// multiple of K; query head h uses head h / (H / K)), D head size.
#ifndef LEXTRA_OPS_ATTENTION_PART_H_
#define LEXTRA_OPS_ATTENTION_PART_H_

#include <ATen/core/Tensor.h>

#include "ops/distance_bias.h"

namespace lextra {

struct AttentionPart {
  at::Tensor out_BTHD;
  at::Tensor lse_BTH;  // natural logarithm; fp32, or fp64 for fp64 inputs

  // Of rows first .. first + count - 1 of the batch; views.
  AttentionPart Rows(int64_t first, int64_t count) const {
    return {out_BTHD.narrow(0, first, count), lse_BTH.narrow(0, first, count)};
  }
};

// Queries q [B, T, H, D] over keys k, values v [B, S, K, D] (already rotated);
// any strides but 1 along D. Scores are scaled by 1 / sqrt(D). causal: query t
// sees keys 0 .. t.
AttentionPart Attend(const at::Tensor& q_BTHD, const at::Tensor& k_BSKD,
                     const at::Tensor& v_BSKD, bool causal,
                     const DistanceBias& bias);

// Extends `whole`, attention of q over other keys, to these keys, in place.
// Initially out is 0 and lse is -inf. For bfloat16 queries `whole` may be fp32,
// so that it is not rounded at every merge.
void AttendMore(const AttentionPart& whole, const at::Tensor& q_BTHD,
                const at::Tensor& k_BSKD, const at::Tensor& v_BSKD, bool causal,
                const DistanceBias& bias);

// Gradients of a part from the gradient of the merged output. `merged` holds
// merged out and lse at the part's queries. Sets dq, dk, dv (views allowed), or
// accumulates into them if `accumulate`.
void AttendBackward(const at::Tensor& dout_BTHD, const at::Tensor& q_BTHD,
                    const at::Tensor& k_BSKD, const at::Tensor& v_BSKD,
                    const AttentionPart& merged, bool causal,
                    const DistanceBias& bias, const at::Tensor& dq_BTHD,
                    const at::Tensor& dk_BSKD, const at::Tensor& dv_BSKD,
                    bool accumulate);

}  // namespace lextra

#endif  // LEXTRA_OPS_ATTENTION_PART_H_
