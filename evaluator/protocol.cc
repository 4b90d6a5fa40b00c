#include "evaluator/protocol.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"

namespace lextra {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

int64_t BudgetOf(const EvaluationConfig& config) {
  return config.max_tokens() > 0 ? config.max_tokens() : kUnbounded;
}

int64_t LongestOf(const EvaluationConfig& config) {
  return *std::max_element(config.lengths().begin(), config.lengths().end());
}

// Of each document that all lengths score: the targets that they share, as one
// range from its begin, a multiple of the longest length. A budget is dealt in
// turns of that length, so that it covers many documents rather than few long
// ones.
absl::StatusOr<std::vector<Piece>> CommonRanges(const Documents& documents,
                                                const EvaluationConfig& config,
                                                int64_t most_of_a_document) {
  const int64_t longest = LongestOf(config);
  int64_t turns = BudgetOf(config) / longest;
  if (turns == 0) {
    return UsageError(
        absl::StrFormat("evaluation.max_tokens = %d: at least the longest of "
                        "evaluation.lengths, %d, or 0 for all",
                        config.max_tokens(), longest));
  }
  std::vector<Piece> ranges;
  std::vector<int64_t> most_targets;  // by range
  int64_t longest_document = 0;
  for (int64_t d = 0; d < documents.num_documents() && turns > 0; ++d) {
    const int64_t targets = std::max<int64_t>(0, documents.size(d) - 1);
    longest_document = std::max(longest_document, documents.size(d));
    if (targets < longest) continue;
    ranges.push_back({.document = d, .begin = 0, .num_targets = longest});
    most_targets.push_back(
        std::min(targets / longest * longest, most_of_a_document));
    --turns;
  }
  if (ranges.empty()) {
    return InputError(absl::StrFormat(
        "no document has more than %d tokens, the longest of "
        "evaluation.lengths; the longest of %d documents has %d; choose "
        "shorter evaluation.lengths",
        longest, documents.num_documents(), longest_document));
  }
  for (bool dealt = true; dealt;) {
    dealt = false;
    for (size_t i = 0; i < ranges.size() && turns > 0; ++i) {
      if (ranges[i].num_targets >= most_targets[i]) continue;
      ranges[i].num_targets += longest;
      --turns;
      dealt = true;
    }
  }
  return ranges;
}

std::vector<Piece> NonOverlapping(const std::vector<Piece>& ranges,
                                  int64_t length) {
  std::vector<Piece> pieces;
  for (const Piece& range : ranges) {
    for (int64_t begin = 0; begin < range.num_targets; begin += length) {
      pieces.push_back(
          {.document = range.document,
           .begin = begin,
           .num_targets = std::min(length, range.num_targets - begin)});
    }
  }
  return pieces;
}

std::vector<Piece> Prefixes(const std::vector<Piece>& ranges, int64_t length) {
  std::vector<Piece> pieces = ranges;
  for (Piece& piece : pieces) piece.num_targets = length;
  return pieces;
}

PieceRow Streaming(const Documents& documents, int64_t budget) {
  PieceRow row = {.protocol = STREAMING};
  for (int64_t d = 0; d < documents.num_documents() && budget > 0; ++d) {
    const int64_t targets = std::min(documents.size(d) - 1, budget);
    if (targets < 1) continue;
    row.pieces.push_back({.document = d, .begin = 0, .num_targets = targets});
    row.length = std::max(row.length, targets + 1);
    budget -= targets;
  }
  return row;
}

}  // namespace

absl::StatusOr<std::vector<PieceRow>> PlanRows(const Documents& documents,
                                               const EvaluationConfig& config) {
  std::vector<PieceRow> rows;
  for (const int protocol : config.protocols()) {
    if (protocol == STREAMING) {
      rows.push_back(Streaming(documents, BudgetOf(config)));
      continue;
    }
    LEXTRA_ASSIGN_OR_RETURN(
        const std::vector<Piece> ranges,
        CommonRanges(documents, config,
                     protocol == PREFIX ? LongestOf(config) : kUnbounded));
    for (const int64_t length : config.lengths()) {
      rows.push_back({.protocol = static_cast<Protocol>(protocol),
                      .length = length,
                      .pieces = protocol == PREFIX
                                    ? Prefixes(ranges, length)
                                    : NonOverlapping(ranges, length)});
    }
  }
  return rows;
}

std::string ProtocolName(Protocol protocol) {
  return absl::AsciiStrToLower(Protocol_Name(protocol));
}

std::string MaskName(Mask mask) {
  return absl::AsciiStrToLower(Mask_Name(mask));
}

}  // namespace lextra
