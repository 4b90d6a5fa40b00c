#include "model/attention/piecewise_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "ops/matmul.h"

namespace lextra {
namespace {

at::Tensor Places(const at::Tensor& x_BTHD, int64_t first, int64_t count) {
  return x_BTHD.narrow(1, first, count);
}

AttentionPart Places(const AttentionPart& part, int64_t first, int64_t count) {
  return {Places(part.out_BTHD, first, count),
          Places(part.lse_BTH, first, count)};
}

// Queries that attend to one piece of keys, to all of it or causally.
struct Meeting {
  KeyPiece keys;
  int64_t first_row;
  int64_t num_rows;
  bool causal;
};

// A causal piece is a triangle, plus a rectangle of the queries after it: GPUs
// have fused operators only for these two.
std::vector<Meeting> MeetingsOf(const PositionEncoding& positions,
                                const QueriesAndKeys& qk, bool causal) {
  const int64_t num_queries = qk.q_BTHD.size(1);
  std::vector<Meeting> meetings;
  for (const KeyPiece& piece :
       KeyPieces(positions, qk.first_key, qk.k_BSKD.size(1))) {
    if (!causal) {
      meetings.push_back({piece, 0, num_queries, false});
      continue;
    }
    const int64_t behind = piece.first + piece.count;
    meetings.push_back({piece, piece.first, piece.count, true});
    if (behind < num_queries) {
      meetings.push_back({piece, behind, num_queries - behind, false});
    }
  }
  return meetings;
}

// The meeting's queries at their distance from the start of the piece.
at::Tensor RotatedQueries(const PositionEncoding& positions,
                          const QueriesAndKeys& qk, int64_t first_row,
                          int64_t num_rows, const KeyPiece& piece) {
  const at::Tensor raw = Places(qk.q_BTHD, first_row, num_rows);
  const at::Tensor rotated = at::empty(raw.sizes(), raw.options());
  positions.Rotate(AttentionRole::kQuery, raw, rotated,
                   qk.first_query + first_row - piece.start);
  return rotated;
}

DistanceBias BiasOf(const PositionEncoding& positions, const QueriesAndKeys& qk,
                    const Meeting& meeting) {
  return positions.ScoreBias({.first = qk.first_query + meeting.first_row},
                             {.first = qk.first_key + meeting.keys.first});
}

Positions Turned(int64_t first, int64_t count) {
  return {.first = first + count - 1, .step = -1};
}

}  // namespace

std::vector<KeyPiece> KeyPieces(const PositionEncoding& positions,
                                int64_t first_position, int64_t num_keys) {
  const int64_t span = positions.key_span();
  std::vector<KeyPiece> pieces;
  for (int64_t first = 0; first < num_keys;) {
    const int64_t position = first_position + first;
    const int64_t start = position / span * span;
    const int64_t left = span - (position - start);
    pieces.push_back({first, std::min(num_keys - first, left), start});
    first += pieces.back().count;
  }
  return pieces;
}

void RotateKeys(const PositionEncoding& positions, const at::Tensor& k_BSKD) {
  for (const KeyPiece& piece : KeyPieces(positions, 0, k_BSKD.size(1))) {
    const at::Tensor k = Places(k_BSKD, piece.first, piece.count);
    positions.Rotate(AttentionRole::kKey, k, k, 0);
  }
}

void RotateKeysTransposed(const PositionEncoding& positions,
                          const at::Tensor& dk_BSKD) {
  for (const KeyPiece& piece : KeyPieces(positions, 0, dk_BSKD.size(1))) {
    const at::Tensor dk = Places(dk_BSKD, piece.first, piece.count);
    positions.RotateTransposed(AttentionRole::kKey, dk, dk, 0);
  }
}

AttentionPart NothingSeen(const at::Tensor& q_BTHD) {
  const at::TensorOptions options =
      q_BTHD.options().dtype(StatisticsType(q_BTHD.scalar_type()));
  return {at::zeros(q_BTHD.sizes(), options),
          at::full(q_BTHD.sizes().slice(0, 3),
                   -std::numeric_limits<double>::infinity(), options)};
}

void AttendPieces(const PositionEncoding& positions, const AttentionPart& whole,
                  const QueriesAndKeys& qk, bool causal) {
  for (const Meeting& m : MeetingsOf(positions, qk, causal)) {
    AttendMore(Places(whole, m.first_row, m.num_rows),
               RotatedQueries(positions, qk, m.first_row, m.num_rows, m.keys),
               Places(qk.k_BSKD, m.keys.first, m.keys.count),
               Places(qk.v_BSKD, m.keys.first, m.keys.count), m.causal,
               BiasOf(positions, qk, m));
  }
}

void AttendPiecesBeyond(const PositionEncoding& positions,
                        const AttentionPart& whole, const QueriesAndKeys& qk) {
  for (const KeyPiece& piece :
       KeyPieces(positions, qk.first_key, qk.k_BSKD.size(1))) {
    const auto [first, count, start] = piece;
    const at::Tensor k = Places(qk.k_BSKD, first, count);
    const at::Tensor v = Places(qk.v_BSKD, first, count);
    if (first > 0) {
      AttendMore(Places(whole, 0, first),
                 RotatedQueries(positions, qk, 0, first, piece), k, v,
                 /*causal=*/false,
                 positions.ScoreBias({.first = qk.first_query},
                                     {.first = qk.first_key + first}));
    }
    // With queries and keys reversed, causal attention.
    const AttentionPart part = Places(whole, first, count);
    const AttentionPart turned = {part.out_BTHD.flip(1), part.lse_BTH.flip(1)};
    AttendMore(turned,
               RotatedQueries(positions, qk, first, count, piece).flip(1),
               k.flip(1), v.flip(1), /*causal=*/true,
               positions.ScoreBias(Turned(qk.first_query + first, count),
                                   Turned(qk.first_key + first, count)));
    part.out_BTHD.copy_(turned.out_BTHD.flip(1));
    part.lse_BTH.copy_(turned.lse_BTH.flip(1));
  }
}

void AttendPiecesBackward(const PositionEncoding& positions,
                          const at::Tensor& dout_BTHD, const QueriesAndKeys& qk,
                          const AttentionPart& merged, bool causal,
                          const at::Tensor& dq_BTHD, const at::Tensor& dk_BSKD,
                          const at::Tensor& dv_BSKD, bool accumulate) {
  int64_t begun = -1;  // the piece whose gradients have been set
  for (const Meeting& m : MeetingsOf(positions, qk, causal)) {
    const KeyPiece& piece = m.keys;
    const bool adds = accumulate || piece.first == begun;
    const at::Tensor q =
        RotatedQueries(positions, qk, m.first_row, m.num_rows, piece);
    const at::Tensor dq =
        at::zeros(q.sizes(), q.options().dtype(dq_BTHD.scalar_type()));
    AttendBackward(Places(dout_BTHD, m.first_row, m.num_rows), q,
                   Places(qk.k_BSKD, piece.first, piece.count),
                   Places(qk.v_BSKD, piece.first, piece.count),
                   Places(merged, m.first_row, m.num_rows), m.causal,
                   BiasOf(positions, qk, m), dq,
                   Places(dk_BSKD, piece.first, piece.count),
                   Places(dv_BSKD, piece.first, piece.count), adds);
    begun = piece.first;
    positions.RotateTransposed(AttentionRole::kQuery, dq, dq,
                               qk.first_query + m.first_row - piece.start);
    Places(dq_BTHD, m.first_row, m.num_rows).add_(dq);
  }
}

}  // namespace lextra
