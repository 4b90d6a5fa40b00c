#include "evaluator/scoring/protocol.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/work_counter.h"

namespace lextra {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

int64_t BudgetOf(const EvaluationConfig& config) {
  return config.max_tokens() > 0 ? config.max_tokens() : kUnbounded;
}

int64_t LongestOf(const EvaluationConfig& config) {
  return *std::max_element(config.lengths().begin(), config.lengths().end());
}

// How a protocol distributes the documents that all lengths can score: the
// first turn needs `first_turn` targets, each further one `turn` more, and a
// turn counts `turn` targets.
struct Deal {
  int64_t first_turn = 0;
  int64_t turn = 0;
  int64_t most_turns = kUnbounded;  // of a document
};

Deal DealOf(Protocol protocol, const EvaluationConfig& config) {
  const int64_t longest = LongestOf(config);
  switch (protocol) {
    case PREFIX:
      return {.first_turn = longest, .turn = longest, .most_turns = 1};
    case SAME_TARGETS:
      return {.first_turn = longest, .turn = config.stride()};
    default:
      return {.first_turn = longest, .turn = longest};
  }
}

struct DealtDocument {
  int64_t document = 0;
  int64_t turns = 0;
  int64_t most_turns = 0;
};

// Turns dealt if each document gets at most `level`; never more than `limit` +
// 1.
int64_t TurnsUpTo(int64_t level, int64_t limit,
                  const std::vector<DealtDocument>& dealt) {
  int64_t turns = 0;
  for (const DealtDocument& document : dealt) {
    turns += std::min({document.most_turns, level, limit + 1 - turns});
  }
  return turns;
}

// Deals `turns` more, one per document and round, in order, to documents that
// have one each and can take more. The last whole round is found by bisection:
// there may be very many documents and turns.
void DealTurns(int64_t turns, std::vector<DealtDocument>* dealt) {
  const int64_t num_documents = std::ssize(*dealt);
  const int64_t all = turns > kUnbounded - num_documents - 1
                          ? kUnbounded - 1
                          : turns + num_documents;
  int64_t level = 1;
  int64_t beyond = 1;  // the first level that is not reached, or the most turns
  for (const DealtDocument& document : *dealt) {
    beyond = std::max(beyond, document.most_turns + 1);
  }
  while (level + 1 < beyond) {
    const int64_t middle = level + (beyond - level) / 2;
    (TurnsUpTo(middle, all, *dealt) <= all ? level : beyond) = middle;
  }
  int64_t left = all - TurnsUpTo(level, all, *dealt);
  for (DealtDocument& document : *dealt) {
    document.turns = std::min(document.most_turns, level);
    if (left == 0 || document.turns == document.most_turns) continue;
    ++document.turns;
    --left;
  }
}

// The budget is dealt in turns, so that it covers many documents rather than a
// few long ones.
absl::StatusOr<std::vector<DealtDocument>> DealDocuments(
    const Documents& documents, const EvaluationConfig& config,
    const Deal& deal) {
  int64_t turns = BudgetOf(config) / deal.turn;
  if (turns == 0) {
    return UsageError(absl::StrFormat(
        "evaluation.max_tokens = %d: expected at least %d, the targets of a "
        "document's first piece, or 0 for all",
        config.max_tokens(), deal.turn));
  }
  std::vector<DealtDocument> dealt;
  int64_t longest_document = 0;
  for (int64_t d = 0; d < documents.num_documents() && turns > 0; ++d) {
    CountWork();
    longest_document = std::max(longest_document, documents.size(d));
    const int64_t spare = documents.size(d) - 1 - deal.first_turn;
    if (spare < 0) continue;
    const int64_t most = std::min(deal.most_turns, 1 + spare / deal.turn);
    dealt.push_back({.document = d, .turns = 1, .most_turns = most});
    --turns;
  }
  if (dealt.empty()) {
    return InputError(absl::StrFormat(
        "no document has more than %d tokens, the longest of "
        "evaluation.lengths; the longest of %d documents has %d; choose "
        "shorter evaluation.lengths",
        deal.first_turn, documents.num_documents(), longest_document));
  }
  DealTurns(turns, &dealt);
  return dealt;
}

void AppendNonOverlapping(int64_t document, int64_t num_targets, int64_t length,
                          std::vector<Piece>* pieces) {
  for (int64_t begin = 0; begin < num_targets; begin += length) {
    pieces->push_back({.document = document,
                       .begin = begin,
                       .num_targets = std::min(length, num_targets - begin)});
  }
}

// Windows of `length` that count targets [first, last), at most `stride` each.
// The first target has `length` targets up to it or is the document's first
// `length`.
void AppendWindows(int64_t document, int64_t first, int64_t last,
                   int64_t length, int64_t stride, std::vector<Piece>* pieces) {
  for (int64_t counted = first; counted < last; counted += stride) {
    const int64_t end = std::min(counted + stride, last);
    pieces->push_back({.document = document,
                       .begin = end - length,
                       .num_targets = length,
                       .num_context = length - (end - counted)});
  }
}

void AppendPieces(Protocol protocol, const DealtDocument& dealt,
                  const Deal& deal, int64_t length, int64_t stride,
                  std::vector<Piece>* pieces) {
  const int64_t d = dealt.document;
  const int64_t end = deal.first_turn + (dealt.turns - 1) * deal.turn;
  switch (protocol) {
    case PREFIX:
      pieces->push_back({.document = d, .begin = 0, .num_targets = length});
      break;
    case SLIDING:
      pieces->push_back({.document = d, .begin = 0, .num_targets = length});
      AppendWindows(d, length, end, length, stride, pieces);
      break;
    case SAME_TARGETS:
      AppendWindows(d, deal.first_turn - stride, end, length, stride, pieces);
      break;
    default:
      AppendNonOverlapping(d, end, length, pieces);
  }
}

PlannedRow Streaming(const Documents& documents, int64_t budget) {
  PlannedRow row = {.protocol = STREAMING};
  for (int64_t d = 0; d < documents.num_documents() && budget > 0; ++d) {
    CountWork();
    const int64_t targets = std::min(documents.size(d) - 1, budget);
    if (targets < 1) continue;
    row.pieces.push_back({.document = d, .begin = 0, .num_targets = targets});
    row.length = std::max(row.length, targets + 1);
    budget -= targets;
  }
  return row;
}

}  // namespace

int64_t PlannedRow::num_places() const {
  int64_t most = 0;
  for (const Piece& piece : pieces) most = std::max(most, piece.num_targets);
  return most;
}

int64_t PlannedRow::num_counted() const {
  int64_t counted = 0;
  for (const Piece& piece : pieces) counted += piece.num_counted();
  return counted;
}

absl::StatusOr<std::vector<PlannedRow>> PlanRows(
    const Documents& documents, const EvaluationConfig& config) {
  std::vector<PlannedRow> rows;
  for (const int protocol : config.protocols()) {
    if (protocol == STREAMING) {
      rows.push_back(Streaming(documents, BudgetOf(config)));
      continue;
    }
    const auto named = static_cast<Protocol>(protocol);
    const Deal deal = DealOf(named, config);
    LEXTRA_ASSIGN_OR_RETURN(const std::vector<DealtDocument> dealt,
                            DealDocuments(documents, config, deal));
    for (const int64_t length : config.lengths()) {
      PlannedRow row = {.protocol = named, .length = length};
      for (const DealtDocument& document : dealt) {
        AppendPieces(named, document, deal, length, config.stride(),
                     &row.pieces);
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace lextra
