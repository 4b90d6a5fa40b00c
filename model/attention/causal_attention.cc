#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/attention/attention.h"
#include "model/attention/packed_heads.h"
#include "model/attention/piecewise_attention.h"
#include "ops/attention_part.h"
#include "ops/matmul.h"
#include "ops/saved_pointer.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

QueriesAndKeys FromTheStart(const PackedHeads& heads) {
  return {.q_BTHD = heads.q, .k_BSKD = heads.k, .v_BSKD = heads.v};
}

// Accumulated into, once per piece.
at::Tensor NoGradient(const at::Tensor& q_BTHD) {
  return at::zeros(q_BTHD.sizes(), q_BTHD.options().dtype(
                                       StatisticsType(q_BTHD.scalar_type())));
}

// Rotates inside the packed tensor: its producer (a linear layer) does not need
// its output for the backward pass, so autograd need not know. Saves the
// rotated tensor, out and lse without copying queries, keys or values. If keys
// are in several pieces, queries stay raw and a rotated copy of them is made
// for each piece.
class CausalFunction : public torch::autograd::Function<CausalFunction> {
 public:
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& qkv_BTED,
                            const PositionEncoding* positions,
                            int64_t num_kv_heads) {
    const PackedHeads heads(qkv_BTED, num_kv_heads);
    RotateKeys(*positions, heads.k);
    AttentionPart part;
    if (IsOnePiece(*positions, heads)) {
      positions->Rotate(AttentionRole::kQuery, heads.q, heads.q, 0);
      part = Attend(heads.q, heads.k, heads.v, /*causal=*/true,
                    positions->ScoreBias({}, {}));
    } else {
      part = NothingSeen(heads.q);
      AttendPieces(*positions, part, FromTheStart(heads), /*causal=*/true);
      part.out_BTHD = part.out_BTHD.to(qkv_BTED.scalar_type());
    }
    context->save_for_backward({qkv_BTED, part.out_BTHD, part.lse_BTH});
    context->saved_data["positions"] = SavedPointer(positions);
    context->saved_data["num_kv_heads"] = num_kv_heads;
    return part.out_BTHD;
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto* positions =
        PointerOf<const PositionEncoding>(context->saved_data["positions"]);
    const int64_t num_kv_heads = context->saved_data["num_kv_heads"].toInt();
    const PackedHeads heads(saved[0], num_kv_heads);
    const at::Tensor dqkv = at::empty_like(saved[0]);
    const PackedHeads to(dqkv, num_kv_heads);
    const at::Tensor dout = gradients[0].contiguous();
    const AttentionPart merged = {saved[1], saved[2]};
    if (IsOnePiece(*positions, heads)) {
      AttendBackward(dout, heads.q, heads.k, heads.v, merged, /*causal=*/true,
                     positions->ScoreBias({}, {}), to.q, to.k, to.v,
                     /*accumulate=*/false);
      positions->RotateTransposed(AttentionRole::kQuery, to.q, to.q, 0);
    } else {
      const at::Tensor dq = NoGradient(heads.q);
      AttendPiecesBackward(*positions, dout, FromTheStart(heads), merged,
                           /*causal=*/true, dq, to.k, to.v,
                           /*accumulate=*/false);
      to.q.copy_(dq);
    }
    RotateKeysTransposed(*positions, to.k);
    return {dqkv, at::Tensor(), at::Tensor()};
  }

 private:
  static bool IsOnePiece(const PositionEncoding& positions,
                         const PackedHeads& heads) {
    return heads.k.size(1) <= positions.key_span();
  }
};

}  // namespace

CausalAttention::CausalAttention(const PositionEncoding& positions,
                                 int64_t num_kv_heads)
    : positions_(positions), num_kv_heads_(num_kv_heads) {}

at::Tensor CausalAttention::operator()(int64_t, const at::Tensor& qkv_BTED) {
  return CausalFunction::apply(qkv_BTED, &positions_, num_kv_heads_);
}

}  // namespace lextra
