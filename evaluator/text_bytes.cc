#include "evaluator/text_bytes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "evaluator/scoring/row_progress.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

// Calls `see` with the tokens [begin, end) of a document, some at a time, and
// the place of the first.
template <typename See>
absl::Status ReadTokens(const Documents& documents, int64_t document,
                        int64_t begin, int64_t end, See see) {
  std::vector<int64_t> tokens;
  for (; begin < end; begin += std::ssize(tokens)) {
    tokens.resize(std::min(kTokensAtOnce, end - begin));
    LEXTRA_RETURN_IF_ERROR(documents.Read(document, begin, std::span(tokens)));
    see(begin, std::span<const int64_t>(tokens));
  }
  return absl::OkStatus();
}

// Tokens of all documents that are text.
absl::StatusOr<int64_t> CountTextTokens(const Documents& documents,
                                        int64_t eos_id, Communicator& world) {
  int64_t mine = 0;
  absl::Status status;
  for (int64_t d = world.rank(); d < documents.num_documents() && status.ok();
       d += world.size()) {
    status = ReadTokens(documents, d, 0, documents.size(d),
                        [&](int64_t, std::span<const int64_t> tokens) {
                          mine += std::ssize(tokens) -
                                  std::ranges::count(tokens, eos_id);
                        });
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, status));
  const at::Tensor all = at::full({1}, mine, at::kLong);
  world.AllReduce(all, ReduceOp::kSum);
  return all.item<int64_t>();
}

// The bytes that an id stands for.
class BytesOfToken {
 public:
  static absl::StatusOr<BytesOfToken> Of(const Documents& documents,
                                         bool averages, Communicator& world) {
    const TextMeasure& measure = documents.text_measure();
    BytesOfToken bytes;
    bytes.of_id_.assign(measure.bytes_of_id.begin(), measure.bytes_of_id.end());
    if (!bytes.of_id_.empty()) return bytes;
    bytes.of_others_ = std::numeric_limits<double>::quiet_NaN();
    if (!measure.bytes_of_all || !averages) return bytes;
    bytes.eos_id_ = measure.eos_id.value_or(-1);
    LEXTRA_ASSIGN_OR_RETURN(const int64_t tokens,
                            CountTextTokens(documents, bytes.eos_id_, world));
    bytes.is_average_ = true;
    bytes.of_others_ = static_cast<double>(*measure.bytes_of_all) /
                       static_cast<double>(tokens);
    return bytes;
  }

  double operator()(int64_t id) const {
    if (id == eos_id_) return 0;
    return id < std::ssize(of_id_) ? of_id_[id] : of_others_;
  }
  bool is_average() const { return is_average_; }

 private:
  std::vector<double> of_id_;
  double of_others_ = 0;
  int64_t eos_id_ = -1;
  bool is_average_ = false;
};

absl::StatusOr<double> BytesOfTargets(const Documents& documents,
                                      const PlannedRow& row,
                                      const BytesOfToken& bytes_of,
                                      RowProgress& progress) {
  double bytes = 0;
  for (const Piece& piece : row.pieces) {
    // Earlier tokens are checked too, but are not targets.
    const int64_t first_target = piece.begin + piece.num_context + 1;
    LEXTRA_RETURN_IF_ERROR(ReadTokens(
        documents, piece.document, piece.begin,
        piece.begin + piece.num_targets + 1,
        [&](int64_t begin, std::span<const int64_t> tokens) {
          const int64_t skipped =
              std::clamp<int64_t>(first_target - begin, 0, std::ssize(tokens));
          for (const int64_t id : tokens.subspan(skipped)) {
            bytes += bytes_of(id);
          }
        }));
    progress.Add(piece.num_counted());
  }
  return bytes;
}

}  // namespace

absl::StatusOr<TextBytes> CountTextBytes(const Documents& documents,
                                         const std::vector<PlannedRow>& rows,
                                         bool averages, Communicator& world) {
  LEXTRA_ASSIGN_OR_RETURN(const BytesOfToken bytes_of,
                          BytesOfToken::Of(documents, averages, world));
  int64_t num_targets = 0;
  for (const PlannedRow& row : rows) num_targets += row.num_counted();
  RowProgress progress("reading the tokens to score", num_targets, num_targets);
  TextBytes bytes = {.are_average = bytes_of.is_average()};
  absl::Status status;
  for (const PlannedRow& row : rows) {
    const absl::StatusOr<double> of_row =
        BytesOfTargets(documents, row, bytes_of, progress);
    status = of_row.status();
    if (!status.ok()) break;
    bytes.of_row.push_back(*of_row);
  }
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, status));
  return bytes;
}

}  // namespace lextra
