#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <utility>

#include "model/attention/attention.h"
#include "model/attention/packed_heads.h"
#include "model/attention/piecewise_attention.h"
#include "ops/attention_part.h"

namespace lextra {
namespace {

// Keys are rotated relative to the start of a piece of at most this many keys,
// which keeps a piece's scores in the cache, or fewer if xPos's factors require
// it.
constexpr int64_t kMostPieceKeys = 1024;

int64_t PieceKeys(const PositionEncoding& positions) {
  return std::min(kMostPieceKeys, positions.key_span());
}

// The two chunks of a rank, and their start in the document.
struct Chunks {
  Chunks(int rank, int size, int64_t length)
      : length(length),
        first_place{rank * length, (2 * size - 1 - rank) * length} {}

  int64_t length;
  int64_t first_place[2];
};

// This rank's queries and their attention so far.
struct Queries {
  const PositionEncoding& positions;
  Chunks chunks;
  at::Tensor q_BTHD;  // raw
  AttentionPart seen;
};

// Calls visit(offset in the chunk, keys) for each piece of a chunk.
template <typename Visit>
void ForEachPiece(const PositionEncoding& positions, int64_t chunk_length,
                  Visit visit) {
  const int64_t most = PieceKeys(positions);
  for (int64_t offset = 0; offset < chunk_length; offset += most) {
    visit(offset, std::min(most, chunk_length - offset));
  }
}

// Keys rotated at their place in their piece, and values: [2, B, T, K, D].
at::Tensor PackKeysAndValues(const PositionEncoding& positions,
                             const PackedHeads& heads, int64_t chunk_length) {
  for (const int64_t chunk : {int64_t{0}, chunk_length}) {
    ForEachPiece(positions, chunk_length, [&](int64_t offset, int64_t keys) {
      const at::Tensor piece = heads.k.narrow(1, chunk + offset, keys);
      positions.Rotate(AttentionRole::kKey, piece, piece, 0);
    });
  }
  return at::stack({heads.k, heads.v});
}

// The queries of one chunk attend to a piece of keys that begins at `place` of
// the document: those before it see nothing, those inside it see it causally,
// those after it see all of it. A causal part does exactly that.
void MeetPiece(const Queries& queries, int query_chunk, int64_t place,
               const at::Tensor& k, const at::Tensor& v) {
  const int64_t chunk_place = queries.chunks.first_place[query_chunk];
  const int64_t first = std::max<int64_t>(0, place - chunk_place);
  const int64_t count = queries.chunks.length - first;
  if (count <= 0) return;
  const int64_t row = query_chunk * queries.chunks.length + first;
  const int64_t distance = chunk_place + first - place;
  const at::Tensor raw = queries.q_BTHD.narrow(1, row, count);
  const at::Tensor q = at::empty(raw.sizes(), raw.options());
  queries.positions.Rotate(AttentionRole::kQuery, raw, q, distance);
  AttendMore({queries.seen.out_BTHD.narrow(1, row, count),
              queries.seen.lse_BTH.narrow(1, row, count)},
             q, k, v, /*causal=*/distance == 0,
             queries.positions.ScoreBias({.first = distance}, {}));
}

void MeetChunks(const Queries& queries, const Chunks& held,
                const at::Tensor& kv) {
  for (const int key_chunk : {0, 1}) {
    ForEachPiece(queries.positions, held.length,
                 [&](int64_t offset, int64_t keys) {
                   const at::Tensor piece =
                       kv.narrow(2, key_chunk * held.length + offset, keys);
                   for (const int query_chunk : {0, 1}) {
                     MeetPiece(queries, query_chunk,
                               held.first_place[key_chunk] + offset,
                               piece.select(0, 0), piece.select(0, 1));
                   }
                 });
  }
}

}  // namespace

RingCausalAttention::RingCausalAttention(const PositionEncoding& positions,
                                         int64_t num_kv_heads,
                                         Communicator& context_axis)
    : positions_(positions),
      num_kv_heads_(num_kv_heads),
      context_axis_(context_axis) {}

at::Tensor RingCausalAttention::operator()(int64_t,
                                           const at::Tensor& qkv_BTED) {
  TORCH_CHECK(!at::GradMode::is_enabled() || !qkv_BTED.requires_grad(),
              "ring attention has no gradient");
  TORCH_CHECK(qkv_BTED.dim() == 4 && qkv_BTED.size(1) % 2 == 0,
              "ring attention takes two equal chunks, not ", qkv_BTED.sizes());
  const int rank = context_axis_.rank();
  const int size = context_axis_.size();
  const int64_t chunk_length = qkv_BTED.size(1) / 2;
  const PackedHeads heads(qkv_BTED, num_kv_heads_);
  const Queries queries = {positions_, Chunks(rank, size, chunk_length),
                           heads.q, NothingSeen(heads.q)};
  at::Tensor kv = PackKeysAndValues(positions_, heads, chunk_length);
  at::Tensor next = at::empty_like(kv);
  for (int step = 0; step < size; ++step) {
    PendingCollective traveling;
    if (step + 1 < size) {
      traveling = context_axis_.SendReceiveAsync(kv, (rank + 1) % size, next,
                                                 (rank + size - 1) % size);
    }
    const int holder = (rank + size - step) % size;
    MeetChunks(queries, Chunks(holder, size, chunk_length), kv);
    traveling.Wait();
    std::swap(kv, next);
  }
  return queries.seen.out_BTHD.to(qkv_BTED.scalar_type());
}

}  // namespace lextra
