#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "model/attention/attention.h"
#include "model/attention/packed_heads.h"
#include "model/attention/piecewise_attention.h"
#include "ops/attention_part.h"

// Legend: D documents, R rows = blocks * D, h places of a block.
namespace lextra {
namespace {

// `count` queries, keys or results from `first` on, of all rows.
at::Tensor Places(const at::Tensor& x_RhHD, int64_t first, int64_t count) {
  return x_RhHD.narrow(1, first, count);
}

AttentionPart Places(const AttentionPart& part, int64_t first, int64_t count) {
  return {Places(part.out_BTHD, first, count),
          Places(part.lse_BTH, first, count)};
}

}  // namespace

SegmentAttention::SegmentAttention(const PositionEncoding& positions,
                                   int64_t num_kv_heads, const Segment& segment,
                                   HaloExchange& halo, SinkRelay& sinks)
    : positions_(positions),
      num_kv_heads_(num_kv_heads),
      segment_(segment),
      regions_(segment.reach),
      halo_(halo),
      sinks_(sinks) {
  for (int64_t back = 1; back <= segment.reach; ++back) {
    regions_[back - 1] = RegionsOf(segment.mask, back);
  }
}

at::Tensor SegmentAttention::operator()(int64_t layer,
                                        const at::Tensor& qkv_BTED) {
  TORCH_CHECK(!at::GradMode::is_enabled() || !qkv_BTED.requires_grad(),
              "attention of a segment has no gradient");
  TORCH_CHECK(qkv_BTED.dim() == 4 && qkv_BTED.size(1) == segment_.mask.block &&
                  qkv_BTED.size(0) % segment_.num_documents == 0,
              "rows of ", qkv_BTED.sizes(), " are not blocks of ",
              segment_.mask.block, " places of ", segment_.num_documents,
              " documents");
  const PackedHeads heads(qkv_BTED, num_kv_heads_);
  RotateKeys(positions_, heads.k);
  halo_.Start(layer, Tail(heads));
  const AttentionPart whole = OwnBlock(heads);
  const int64_t documents = segment_.num_documents;
  const int64_t blocks = heads.q.size(0) / documents;
  for (int64_t back = 1; back <= std::min(segment_.reach, blocks - 1); ++back) {
    LookBack(whole, heads.q, back, back, blocks - back, {heads.k, heads.v}, 0);
  }
  if (segment_.mask.sinks > 0) AttendSinks(layer, whole, heads);
  const std::vector<at::Tensor> tails = halo_.Finish(layer);
  if (tails.empty()) return whole.out_BTHD.to(qkv_BTED.scalar_type());
  const at::Tensor kv = tails.size() == 1 ? tails[0] : at::cat(tails, 1);
  const int64_t held = kv.size(1) / documents;
  for (int64_t back = 1; back <= segment_.reach; ++back) {
    // Blocks of queries whose block of keys is among those before the segment.
    const int64_t first = std::max<int64_t>(0, back - held);
    const int64_t count = std::min(back, blocks) - first;
    if (count <= 0) continue;
    LookBack(whole, heads.q, back, first, count,
             {kv.select(0, 0), kv.select(0, 1)}, held + first - back);
  }
  return whole.out_BTHD.to(qkv_BTED.scalar_type());
}

// Attention of all rows within their own block. Raw queries are kept: they are
// rotated again for each block that they see.
AttentionPart SegmentAttention::OwnBlock(const PackedHeads& heads) const {
  if (heads.k.size(1) > positions_.key_span()) {
    const AttentionPart whole = NothingSeen(heads.q);
    AttendPieces(positions_, whole,
                 {.q_BTHD = heads.q, .k_BSKD = heads.k, .v_BSKD = heads.v},
                 /*causal=*/true);
    return whole;
  }
  const at::Tensor q = at::empty(heads.q.sizes(), heads.q.options());
  positions_.Rotate(AttentionRole::kQuery, heads.q, q, 0);
  return Attend(q, heads.k, heads.v, /*causal=*/true,
                positions_.ScoreBias({}, {}));
}

// `count` blocks of queries from `first_block` on attend to the blocks of keys
// from `key_block` on, which are `back` blocks before them.
void SegmentAttention::LookBack(const AttentionPart& whole,
                                const at::Tensor& q_RhHD, int64_t back,
                                int64_t first_block, int64_t count,
                                const KeysAndValues& kv,
                                int64_t key_block) const {
  const std::vector<MaskRegion>& regions = regions_[back - 1];
  if (regions.empty()) return;
  const int64_t documents = segment_.num_documents;
  const int64_t rows = count * documents;
  const int64_t distance = back * segment_.mask.block;
  const at::Tensor q = q_RhHD.narrow(0, first_block * documents, rows);
  const at::Tensor k = kv.k.narrow(0, key_block * documents, rows);
  const at::Tensor v = kv.v.narrow(0, key_block * documents, rows);
  const AttentionPart of_rows = whole.Rows(first_block * documents, rows);
  for (const MaskRegion& region : regions) {
    const AttentionPart part =
        Places(of_rows, region.first_query, region.num_queries);
    const QueriesAndKeys qk = {
        .q_BTHD = Places(q, region.first_query, region.num_queries),
        .first_query = distance + region.first_query,
        .k_BSKD = Places(k, region.first_key, region.num_keys),
        .v_BSKD = Places(v, region.first_key, region.num_keys),
        .first_key = region.first_key};
    if (region.is_triangle) {
      AttendPiecesBeyond(positions_, part, qk);
    } else {
      AttendPieces(positions_, part, qk, /*causal=*/false);
    }
  }
}

// The last blocks' keys and values as one message, of the same shape on all
// ranks. The document's last segment, which may have fewer blocks, sends none.
at::Tensor SegmentAttention::Tail(const PackedHeads& heads) const {
  const int64_t rows = segment_.tail_blocks * segment_.num_documents;
  const int64_t first = heads.k.size(0) - rows;
  if (first < 0) {
    return at::zeros(
        {2, rows, heads.k.size(1), heads.k.size(2), heads.k.size(3)},
        heads.k.options());
  }
  return at::stack(
      {heads.k.narrow(0, first, rows), heads.v.narrow(0, first, rows)});
}

// Queries whose window has passed the sinks see them at their distance, but
// never further than the window plus all sinks: as in a cache of that many keys
// (Xiao et al. 2024, "Efficient Streaming Language Models with Attention
// Sinks").
void SegmentAttention::AttendSinks(int64_t layer, const AttentionPart& whole,
                                   const PackedHeads& heads) {
  const int64_t documents = segment_.num_documents;
  const int64_t h = segment_.mask.block;
  const auto first_keys = [&](const at::Tensor& x_RhKD) {
    return x_RhKD.narrow(0, 0, documents).narrow(1, 0, segment_.mask.sinks);
  };
  const at::Tensor kv =
      sinks_.Get(layer, at::stack({first_keys(heads.k), first_keys(heads.v)}));
  for (int64_t block = 0; block < heads.q.size(0) / documents; ++block) {
    const int64_t begin = (segment_.first_block + block) * h;
    for (const SinkRegion& region : SinkRegionsOf(segment_.mask, begin, h)) {
      const int64_t row = block * documents;
      const AttentionPart part = Places(whole.Rows(row, documents),
                                        region.first - begin, region.count);
      const at::Tensor raw = Places(heads.q.narrow(0, row, documents),
                                    region.first - begin, region.count);
      if (region.is_corner) {
        AttendCorner(part, raw, region, kv);
      } else {
        AttendAllSinks(part, raw, kv);
      }
    }
  }
}

// The first query sees `seen` sinks, each further one sees one more.
void SegmentAttention::AttendCorner(const AttentionPart& part,
                                    const at::Tensor& q_DTHD,
                                    const SinkRegion& region,
                                    const at::Tensor& kv) const {
  const auto attend = [&](int64_t first_key, int64_t num_keys, bool causal) {
    AttendPieces(positions_, part,
                 {.q_BTHD = q_DTHD,
                  .first_query = region.first,
                  .k_BSKD = Places(kv.select(0, 0), first_key, num_keys),
                  .v_BSKD = Places(kv.select(0, 1), first_key, num_keys),
                  .first_key = first_key},
                 causal);
  };
  const int64_t before = region.seen - 1;
  if (before > 0) attend(0, before, /*causal=*/false);
  attend(before, region.count, /*causal=*/true);
}

void SegmentAttention::AttendAllSinks(const AttentionPart& part,
                                      const at::Tensor& q_DTHD,
                                      const at::Tensor& kv) const {
  const int64_t position = segment_.mask.window + segment_.mask.sinks - 1;
  const at::Tensor q = q_DTHD.contiguous();
  const at::Tensor rotated = at::empty(q.sizes(), q.options());
  // All at one place.
  const auto one_by_one = [&](const at::Tensor& x_DTHD) {
    return x_DTHD.view({-1, 1, x_DTHD.size(2), x_DTHD.size(3)});
  };
  for (const KeyPiece& piece : KeyPieces(positions_, 0, segment_.mask.sinks)) {
    positions_.Rotate(AttentionRole::kQuery, one_by_one(q), one_by_one(rotated),
                      position - piece.start);
    AttendMore(part, rotated, Places(kv.select(0, 0), piece.first, piece.count),
               Places(kv.select(0, 1), piece.first, piece.count),
               /*causal=*/false,
               positions_.ScoreBias({.first = position, .step = 0},
                                    {.first = piece.first}));
  }
}

}  // namespace lextra
