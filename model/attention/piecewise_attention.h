// Attention over keys that are rotated in pieces.
//
// xPos's factors leave the dtype's range for keys far from the position at
// which factors are 1. So consecutive keys are cut into pieces of
// PositionEncoding::key_span() positions, each rotated relative to its own
// start, and queries attend to the pieces one by one, rotated at their distance
// from each piece's start. If all keys fit one piece, as with every method
// except xPos, this is ordinary attention.
//
// Positions are relative to the start of the first piece: key n is in piece n /
// key_span().
//
// Legend: that of ops/attention_part.h.
#ifndef LEXTRA_MODEL_ATTENTION_PIECEWISE_ATTENTION_H_
#define LEXTRA_MODEL_ATTENTION_PIECEWISE_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/position/position_encoding.h"
#include "ops/attention_part.h"

namespace lextra {

// Some consecutive keys of one piece: rows first .. first + count - 1 of a
// tensor of keys. The piece starts at position `start`.
struct KeyPiece {
  int64_t first;
  int64_t count;
  int64_t start;
};

// The pieces of keys at positions first_position .. first_position + num_keys -
// 1, in order.
std::vector<KeyPiece> KeyPieces(const PositionEncoding& positions,
                                int64_t first_position, int64_t num_keys);

// k at positions 0, 1, ...; in place.
void RotateKeys(const PositionEncoding& positions, const at::Tensor& k_BSKD);
// From gradients of rotated keys to those of raw ones, in place.
void RotateKeysTransposed(const PositionEncoding& positions,
                          const at::Tensor& dk_BSKD);

// Raw queries at positions first, first + 1, ..., and rotated keys with their
// values, the first at `first_key`.
struct QueriesAndKeys {
  at::Tensor q_BTHD;
  int64_t first_query = 0;
  at::Tensor k_BSKD;
  at::Tensor v_BSKD;
  int64_t first_key = 0;
};

// The result of queries over no keys: out 0 and lse -inf, in the statistics'
// dtype, so that many parts are merged without rounding.
AttentionPart NothingSeen(const at::Tensor& q_BTHD);

// AttendMore() of queries at their places over keys that may be in several
// pieces. No query is before the start of a piece that it sees.
void AttendPieces(const PositionEncoding& positions, const AttentionPart& whole,
                  const QueriesAndKeys& qk, bool causal);
// The same if query i sees keys i, i + 1, ...; as many queries as keys.
void AttendPiecesBeyond(const PositionEncoding& positions,
                        const AttentionPart& whole, const QueriesAndKeys& qk);

// AttendBackward() of AttendPieces(): adds to dq the gradients of raw queries,
// and sets those of rotated keys and of values, or adds to them if
// `accumulate`.
void AttendPiecesBackward(const PositionEncoding& positions,
                          const at::Tensor& dout_BTHD, const QueriesAndKeys& qk,
                          const AttentionPart& merged, bool causal,
                          const at::Tensor& dq_BTHD, const at::Tensor& dk_BSKD,
                          const at::Tensor& dv_BSKD, bool accumulate);

}  // namespace lextra

#endif  // LEXTRA_MODEL_ATTENTION_PIECEWISE_ATTENTION_H_
