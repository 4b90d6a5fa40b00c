// The attention of a layer. The Transformer reads as single-device code because
// everything that differs between training, blockwise evaluation and evaluation
// over ranks is behind this interface.
//
// Legend: B batch, T place, E heads in the packed tensor = H query heads, then
// K key heads, then K value heads; D head size.
#ifndef LEXTRA_MODEL_ATTENTION_ATTENTION_H_
#define LEXTRA_MODEL_ATTENTION_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/attention/block_mask.h"
#include "model/attention/packed_heads.h"
#include "model/position/position_encoding.h"
#include "ops/attention_part.h"
#include "parallel/context_parallel/halo_exchange.h"
#include "parallel/context_parallel/sink_relay.h"

namespace lextra {

class Attention {
 public:
  virtual ~Attention() = default;
  // qkv [B, T, E, D] of layer `layer`, raw (not rotated), consumed: its memory
  // may be overwritten. Returns [B, T, H, D], contiguous.
  virtual at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) = 0;
};

// Plain causal attention of each row of the batch, as in training:
// out = softmax(mask(q k^T / sqrt(D))) v. With autograd.
class CausalAttention : public Attention {
 public:
  // `positions` outlives this. `num_kv_heads`: K, on this rank.
  CausalAttention(const PositionEncoding& positions, int64_t num_kv_heads);
  at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) override;

 private:
  const PositionEncoding& positions_;
  int64_t num_kv_heads_;
};

// Blockwise causal attention of whole documents (docs/method.md section 2): a
// query at place a of block b sees all h keys of block b-1 and keys 0..a of its
// own. Rows of the batch are whole blocks, block-major: row = block *
// num_documents + document, T == h, so "blocks 1.." and "blocks ..n-1" are
// views. Two parts: own block, causal, with queries at a; previous block, full,
// with queries at a + h; keys are rotated once, at their place in their block.
// With autograd.
class BlockwiseCausalAttention : public Attention {
 public:
  // `positions` outlives this.
  BlockwiseCausalAttention(const PositionEncoding& positions,
                           int64_t num_kv_heads, int64_t num_documents);
  at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) override;

 private:
  const PositionEncoding& positions_;
  int64_t num_kv_heads_;
  int64_t num_documents_;
};

// Attention under any BlockMask for one segment of documents distributed over
// the context axis (parallel/context_parallel/halo_exchange.h). Rows of the
// batch as above. The halo exchange overlaps with attention within the segment;
// queries that need the halo come last. No autograd.
class SegmentAttention : public Attention {
 public:
  struct Segment {
    BlockMask mask;
    int64_t num_documents;
    int64_t first_block;  // of the segment in its documents
    int64_t reach;        // most blocks that queries look back
    int64_t tail_blocks;  // that each segment sends
  };

  // `positions`, `halo` and `sinks` outlive this.
  SegmentAttention(const PositionEncoding& positions, int64_t num_kv_heads,
                   const Segment& segment, HaloExchange& halo,
                   SinkRelay& sinks);
  at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) override;

 private:
  struct KeysAndValues {
    at::Tensor k;
    at::Tensor v;
  };

  AttentionPart OwnBlock(const PackedHeads& heads) const;
  void LookBack(const AttentionPart& whole, const at::Tensor& q_RhHD,
                int64_t back, int64_t first_block, int64_t count,
                const KeysAndValues& kv, int64_t key_block) const;
  at::Tensor Tail(const PackedHeads& heads) const;
  void AttendSinks(int64_t layer, const AttentionPart& whole,
                   const PackedHeads& heads);
  void AttendCorner(const AttentionPart& part, const at::Tensor& q_DTHD,
                    const SinkRegion& region, const at::Tensor& kv) const;
  void AttendAllSinks(const AttentionPart& part, const at::Tensor& q_DTHD,
                      const at::Tensor& kv) const;

  const PositionEncoding& positions_;
  int64_t num_kv_heads_;
  Segment segment_;
  std::vector<std::vector<MaskRegion>> regions_;  // by distance in blocks
  HaloExchange& halo_;
  SinkRelay& sinks_;
};

// Plain causal attention over documents distributed over the context axis, for
// comparison. A document is cut into 2 P equal chunks; rank r holds chunks r
// and 2P-1-r (for equal work on all ranks), [B, 2 * chunk, E, D] in that order.
// Keys and values travel around the ring; every pair of (query chunk, earlier
// piece of keys) is one part. Quadratic in length. No autograd.
class RingCausalAttention : public Attention {
 public:
  RingCausalAttention(const PositionEncoding& positions, int64_t num_kv_heads,
                      Communicator& context_axis);
  at::Tensor operator()(int64_t layer, const at::Tensor& qkv_BTED) override;

 private:
  const PositionEncoding& positions_;
  int64_t num_kv_heads_;
  Communicator& context_axis_;
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_ATTENTION_ATTENTION_H_
