// What "NLL at length N" means: which pieces of which documents one result row
// scores (docs/method.md section 3). Each piece is scored alone, as a separate
// document; its last targets count, and no target counts in two pieces of a
// row.
//
//   non_overlapping  Piece k of a document has inputs [kN, kN + N) and targets
//                    [kN + 1, kN + N + 1). All lengths score the same targets:
//                    of every document with more tokens than the longest
//                    length, the first M targets, M the largest multiple of the
//                    longest length. (A length that does not divide M ends with
//                    a shorter piece.)
//   sliding          The same targets. A window of N inputs moves on by
//                    `stride`: all N targets of the first count, the last
//                    `stride` of the others, so these see N - stride + 1 .. N
//                    tokens. (The last window may move less.)
//   same_targets     Windows too, but targets with less context than a window
//                    of the LONGEST length gives do not count at any length:
//                    every length scores the same targets, of the same
//                    documents, each with N - stride + 1 .. N tokens.
//   prefix           The first N targets of the same documents, one piece each.
//   streaming        Every document of two tokens or more, as one piece; the
//                    row's length is the tokens of the longest piece.
//
// evaluation.max_tokens bounds the targets that count, the same for every row
// of a protocol. It is distributed in turns over all documents in order: turns
// of the longest length, or of `stride` targets for same_targets; streaming
// takes documents in order and cuts the last one.
#ifndef LEXTRA_EVALUATOR_SCORING_PROTOCOL_H_
#define LEXTRA_EVALUATOR_SCORING_PROTOCOL_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/scoring/documents.h"

namespace lextra {

// Tokens [begin, begin + num_targets + 1) of a document: inputs are all but the
// last, targets all but the first. The first `num_context` targets don't count.
struct Piece {
  int64_t document = 0;
  int64_t begin = 0;
  int64_t num_targets = 0;
  int64_t num_context = 0;

  int64_t num_counted() const { return num_targets - num_context; }

  friend bool operator==(const Piece&, const Piece&) = default;
};

struct PlannedRow {
  Protocol protocol = NON_OVERLAPPING;
  int64_t length = 0;
  std::vector<Piece> pieces = {};  // by document, then by begin

  // Places of the longest piece.
  int64_t num_places() const;
  // Targets that count, of all pieces.
  int64_t num_counted() const;
};

// The rows of all protocols and lengths of `config` (resolved), in its order.
// InputError if no document is long enough, UsageError if max_tokens is less
// than one turn.
absl::StatusOr<std::vector<PlannedRow>> PlanRows(
    const Documents& documents, const EvaluationConfig& config);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_PROTOCOL_H_
