#include "evaluator/evaluation.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <span>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "evaluator/long_document_scorer.h"
#include "evaluator/position_nll.h"
#include "evaluator/protocol.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

constexpr int64_t kTokensPerCheck = 4096;

// Reads every target of a row once. Returns how many are text.
absl::StatusOr<int64_t> CountTextTargets(const Documents& documents,
                                         const PieceRow& row) {
  const int64_t eos = documents.text_measure().eos_id.value_or(-1);
  std::vector<int64_t> tokens;
  int64_t num_text = 0;
  for (const Piece& piece : row.pieces) {
    const int64_t end = piece.begin + piece.num_targets + 1;
    // The first input is checked too, but is no target.
    int64_t first_target = 1;
    for (int64_t begin = piece.begin; begin < end; begin += tokens.size()) {
      tokens.resize(std::min(kTokensPerCheck, end - begin));
      LEXTRA_RETURN_IF_ERROR(
          documents.Read(piece.document, begin, std::span(tokens)));
      num_text += std::count_if(tokens.begin() + first_target, tokens.end(),
                                [&](int64_t id) { return id != eos; });
      first_target = 0;
    }
  }
  return num_text;
}

// Pieces [begin, end) of a row, of equal length.
using Batch = std::span<const Piece>;

std::vector<Batch> Batches(const PieceRow& row,
                           const LongDocumentScorer& scorer) {
  const Batch pieces = row.pieces;
  std::vector<Batch> batches;
  for (size_t begin = 0; begin < pieces.size();) {
    const int64_t targets = pieces[begin].num_targets;
    const size_t most = scorer.DocumentsAtOnce(targets + 1);
    size_t count = 1;
    while (count < most && begin + count < pieces.size() &&
           pieces[begin + count].num_targets == targets) {
      ++count;
    }
    batches.push_back(pieces.subspan(begin, count));
    begin += count;
  }
  return batches;
}

// Says now and then how far a row is: at a terminal by one line that is drawn
// again and again, elsewhere by a line every half minute.
class RowProgress {
 public:
  explicit RowProgress(const PieceRow& row, int num_data_ranks)
      : num_data_ranks_(num_data_ranks), on_terminal_(ProgressIsWelcome()) {
    for (const Piece& piece : row.pieces) total_ += piece.num_targets;
  }
  ~RowProgress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }

  // More targets have been scored here; as many, about, on each data rank.
  void Add(int64_t num_targets) {
    done_ = std::min(total_, done_ + num_targets * num_data_ranks_);
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start_);
    if (seconds < next_seconds_) return;
    next_seconds_ = seconds + (on_terminal_ ? 0.2 : 30);
    const std::string line = absl::StrFormat(
        "evaluate: %3.0f%% of %d tokens, %.0f tokens/s, %.0f s left",
        100.0 * done_ / total_, total_, done_ / seconds,
        seconds * (total_ - done_) / done_);
    if (!on_terminal_) return LogLine(line);
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
    std::fflush(stderr);
    drawn_ = true;
  }

 private:
  absl::Time start_ = absl::Now();
  double next_seconds_ = 30;
  int64_t total_ = 0;
  int64_t done_ = 0;
  int num_data_ranks_;
  bool on_terminal_;
  bool drawn_ = false;
};

// Takes the NLL of a piece's targets first + 1 .. first + n.
using PieceNll = std::function<void(const Piece& piece, int64_t first,
                                    const at::Tensor& nll_T)>;

void ScoreBatch(const Documents& documents, Batch batch,
                LongDocumentScorer& scorer, const PieceNll& take) {
  const auto read = [&](int64_t begin, const at::Tensor& tokens_BT) {
    for (size_t b = 0; b < batch.size(); ++b) {
      const at::Tensor row = tokens_BT.select(0, b);
      const absl::Status status = documents.Read(
          batch[b].document, batch[b].begin + begin,
          {row.mutable_data_ptr<int64_t>(), static_cast<size_t>(row.size(0))});
      // All tokens have been read before.
      TORCH_CHECK(status.ok(), std::string(status.message()));
    }
  };
  scorer.Score(static_cast<int64_t>(batch.size()), batch[0].num_targets + 1,
               read, [&](int64_t first, const at::Tensor& nll_BT) {
                 for (size_t b = 0; b < batch.size(); ++b) {
                   take(batch[b], first, nll_BT.select(0, b));
                 }
               });
}

// Of the rank that has used most.
int64_t PeakMemoryBytes(Communicator& world) {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const at::Tensor bytes = at::full({1}, usage.ru_maxrss * 1024, at::kLong);
  world.AllReduce(bytes, ReduceOp::kMax);
  return bytes.item<int64_t>();
}

double KeysPerToken(const PieceRow& row, const LongDocumentScorer& scorer) {
  if (row.pieces.empty()) return std::numeric_limits<double>::quiet_NaN();
  double keys = 0;
  int64_t tokens = 0;
  for (const Piece& piece : row.pieces) {
    keys += scorer.NumVisibleKeys(piece.num_targets);
    tokens += piece.num_targets;
  }
  return keys / static_cast<double>(tokens);
}

// Scores the pieces that fall to this data coordinate.
void ScorePieces(const PieceRow& row, const Documents& documents,
                 LongDocumentScorer& scorer, Communicator& data_axis,
                 const PieceNll& take) {
  RowProgress progress(row, data_axis.size());
  const std::vector<Batch> batches = Batches(row, scorer);
  for (size_t i = data_axis.rank(); i < batches.size(); i += data_axis.size()) {
    ScoreBatch(documents, batches[i], scorer,
               [&](const Piece& piece, int64_t first, const at::Tensor& nll_T) {
                 take(piece, first, nll_T);
                 progress.Add(nll_T.size(0));
                 data_axis.activity().Tick();
               });
  }
}

ResultRow ScoreRow(const PieceRow& row, double num_bytes,
                   const Documents& documents, LongDocumentScorer& scorer,
                   DeviceMesh& mesh, const DocumentNll& take) {
  PositionNll sums(documents.num_documents());
  mesh.world().Barrier();
  const absl::Time start = absl::Now();
  ScorePieces(row, documents, scorer, mesh.data(),
              [&](const Piece& piece, int64_t first, const at::Tensor& nll_T) {
                sums.Add(piece.document, first, nll_T);
                if (take) take(piece.document, piece.begin + first, nll_T);
              });
  sums.AllReduce(mesh.data());
  mesh.world().Barrier();
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);

  ResultRow result = {.protocol = row.protocol,
                      .mask = scorer.options().mask,
                      .length = row.length,
                      .nll = sums.Mean(),
                      .perplexity = std::exp(sums.Mean()),
                      .bits_per_byte = sums.BitsPerByte(num_bytes),
                      .tokens = sums.num_tokens(),
                      .bytes = num_bytes,
                      .documents = sums.num_documents(),
                      .standard_error = sums.StandardError(),
                      .keys_per_token = KeysPerToken(row, scorer),
                      .tokens_per_second = sums.num_tokens() / seconds,
                      .peak_memory_bytes = PeakMemoryBytes(mesh.world())};
  if (result.mask == BCA) result.block = scorer.options().block_size;
  if (result.protocol == STREAMING) result.by_place = sums.ByPlace();
  return result;
}

// The bytes of text that each row scores.
absl::StatusOr<std::vector<double>> BytesOfRows(
    const Documents& documents, const std::vector<PieceRow>& rows) {
  std::vector<double> bytes;
  for (const PieceRow& row : rows) {
    LEXTRA_ASSIGN_OR_RETURN(const int64_t num_text,
                            CountTextTargets(documents, row));
    bytes.push_back(static_cast<double>(num_text) *
                    documents.text_measure().bytes_per_token);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<ResultRow>> Evaluate(Transformer& model,
                                                DeviceMesh& mesh,
                                                const Documents& documents,
                                                const EvaluationConfig& config,
                                                const DocumentNll& take) {
  const absl::StatusOr<std::vector<PieceRow>> rows =
      PlanRows(documents, config);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), rows.status()));
  const absl::StatusOr<std::vector<double>> bytes =
      BytesOfRows(documents, *rows);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), bytes.status()));

  std::vector<ResultRow> results;
  for (const int mask : config.masks()) {
    LongDocumentScorer scorer(model, mesh,
                              {.mask = static_cast<Mask>(mask),
                               .block_size = config.block_size(),
                               .segment_tokens = config.segment_tokens()});
    for (size_t i = 0; i < rows->size(); ++i) {
      results.push_back(
          ScoreRow((*rows)[i], (*bytes)[i], documents, scorer, mesh, take));
      LogInfo("%s", ResultLine(results.back()));
    }
  }
  return results;
}

}  // namespace lextra
