#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/attention/attention.h"
#include "model/attention/packed_heads.h"
#include "ops/attention_part.h"
#include "ops/saved_pointer.h"

// Legend: D documents, R rows = blocks * D, h places of a block.
namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Queries at a + h for the previous block: a copy, made before q is rotated in
// place, so that each is rounded once.
at::Tensor LookingBack(const PositionEncoding& positions,
                       const at::Tensor& q_RhHD) {
  const at::Tensor rotated = at::empty(q_RhHD.sizes(), q_RhHD.options());
  positions.Rotate(AttentionRole::kQuery, q_RhHD, rotated, q_RhHD.size(1));
  return rotated;
}

// Part 1 of all rows. Rotates q in place (see CausalFunction); k is rotated.
AttentionPart OwnBlock(const PositionEncoding& positions,
                       const PackedHeads& heads) {
  positions.Rotate(AttentionRole::kQuery, heads.q, heads.q, 0);
  return Attend(heads.q, heads.k, heads.v, /*causal=*/true,
                positions.ScoreBias({}, {}));
}

// Part 2 of the rows from `first_row` on: queries at h .. 2h-1 over all keys,
// which are at 0 .. h-1.
void AttendPreviousBlock(const PositionEncoding& positions,
                         const AttentionPart& whole, int64_t first_row,
                         const at::Tensor& q_back, const at::Tensor& k,
                         const at::Tensor& v) {
  const int64_t h = q_back.size(1);
  AttendMore(whole.Rows(first_row, q_back.size(0)), q_back, k, v,
             /*causal=*/false, positions.ScoreBias({.first = h}, {}));
}

class BlockwiseFunction : public torch::autograd::Function<BlockwiseFunction> {
 public:
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& qkv_RhED,
                            const PositionEncoding* positions,
                            int64_t num_kv_heads, int64_t num_documents) {
    const PackedHeads heads(qkv_RhED, num_kv_heads);
    TORCH_CHECK(heads.k.size(1) <= positions->key_span(), "a block of ",
                heads.k.size(1), " keys, but xPos's factors allow ",
                positions->key_span());
    const int64_t later = qkv_RhED.size(0) - num_documents;
    const at::Tensor q_back =
        LookingBack(*positions, heads.q.narrow(0, num_documents, later));
    positions->Rotate(AttentionRole::kKey, heads.k, heads.k, 0);
    const AttentionPart whole = OwnBlock(*positions, heads);
    AttendPreviousBlock(*positions, whole, num_documents, q_back,
                        heads.k.narrow(0, 0, later),
                        heads.v.narrow(0, 0, later));
    context->save_for_backward(
        {qkv_RhED, q_back, whole.out_BTHD, whole.lse_BTH});
    context->saved_data["positions"] = SavedPointer(positions);
    context->saved_data["num_kv_heads"] = num_kv_heads;
    return whole.out_BTHD;
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto& positions =
        *PointerOf<const PositionEncoding>(context->saved_data["positions"]);
    const int64_t num_kv_heads = context->saved_data["num_kv_heads"].toInt();
    const at::Tensor& q_back = saved[1];
    const at::Tensor dout = gradients[0].contiguous();
    const at::Tensor dqkv = at::empty_like(saved[0]);
    const PackedHeads from(saved[0], num_kv_heads);
    const PackedHeads to(dqkv, num_kv_heads);
    const AttentionPart merged = {saved[2], saved[3]};
    const int64_t h = dqkv.size(1);
    const int64_t later = q_back.size(0);
    const int64_t first = dqkv.size(0) - later;

    AttendBackward(dout, from.q, from.k, from.v, merged, /*causal=*/true,
                   positions.ScoreBias({}, {}), to.q, to.k, to.v,
                   /*accumulate=*/false);
    const at::Tensor dq_back = at::zeros_like(q_back);
    AttendBackward(dout.narrow(0, first, later), q_back,
                   from.k.narrow(0, 0, later), from.v.narrow(0, 0, later),
                   merged.Rows(first, later), /*causal=*/false,
                   positions.ScoreBias({.first = h}, {}), dq_back,
                   to.k.narrow(0, 0, later), to.v.narrow(0, 0, later),
                   /*accumulate=*/true);

    positions.RotateTransposed(AttentionRole::kQuery, to.q, to.q, 0);
    positions.RotateTransposed(AttentionRole::kQuery, dq_back, dq_back, h);
    to.q.narrow(0, first, later).add_(dq_back);
    positions.RotateTransposed(AttentionRole::kKey, to.k, to.k, 0);
    return {dqkv, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

BlockwiseCausalAttention::BlockwiseCausalAttention(
    const PositionEncoding& positions, int64_t num_kv_heads,
    int64_t num_documents)
    : positions_(positions),
      num_kv_heads_(num_kv_heads),
      num_documents_(num_documents) {
  TORCH_CHECK(num_documents > 0, "blockwise attention of ", num_documents,
              " documents");
}

at::Tensor BlockwiseCausalAttention::operator()(int64_t,
                                                const at::Tensor& qkv_BTED) {
  TORCH_CHECK(qkv_BTED.size(0) % num_documents_ == 0, "rows of ",
              qkv_BTED.sizes(), " are not whole blocks of ", num_documents_,
              " documents");
  return BlockwiseFunction::apply(qkv_BTED, &positions_, num_kv_heads_,
                                  num_documents_);
}

}  // namespace lextra
