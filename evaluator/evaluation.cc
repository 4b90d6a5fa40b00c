#include "evaluator/evaluation.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "config/position_methods.h"
#include "evaluator/memory_need.h"
#include "evaluator/scoring/evaluated_mask.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "evaluator/scoring/protocol.h"
#include "evaluator/text_bytes.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

int64_t LongestPiece(const std::vector<PlannedRow>& rows) {
  int64_t longest = 0;
  for (const PlannedRow& row : rows) {
    longest = std::max(longest, row.num_places());
  }
  return longest;
}

// Places of the longest scored piece, including other measurements.
int64_t LongestOfAll(const std::vector<PlannedRow>& rows,
                     const EvaluationConfig& config) {
  int64_t longest = LongestPiece(rows);
  const auto include = [&](const auto& lengths) {
    for (const int64_t length : lengths) longest = std::max(longest, length);
  };
  include(config.resolution_lengths());
  if (config.synthetic_trials() > 0) {
    include(config.passkey_lengths());
    include(config.induction_lengths());
  }
  return longest;
}

// A learned table ends at the training length.
absl::Status CheckPlaces(const ModelConfig& model,
                         const EvaluationConfig& config,
                         const std::vector<PlannedRow>& rows) {
  return CheckHasPlaces(model, LongestOfAll(rows, config),
                        "remove the longer evaluation lengths, or train with "
                        "another model.position_encoding");
}

// Without NONE, RoPE scaling may leave no row: it changes only masks that show
// more positions than the training length.
absl::Status CheckHasRows(const ModelConfig& model,
                          const EvaluationConfig& config,
                          const std::vector<PlannedRow>& rows) {
  for (const EvaluatedMask& mask : MasksOf(config, model)) {
    for (const PlannedRow& row : rows) {
      if (mask.ForPlaces(row.num_places(), model).is_distinct()) {
        return absl::OkStatus();
      }
    }
  }
  return UsageError(absl::StrFormat(
      "evaluation.rope_scaling has no effect: at these lengths "
      "evaluation.masks show no more positions than model.training_length = "
      "%d, so there is no row to score; add NONE",
      model.training_length()));
}

// Of the rank that has used the most.
int64_t PeakMemoryBytes(Communicator& world) {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const at::Tensor bytes = at::full({1}, usage.ru_maxrss * 1024, at::kLong);
  world.AllReduce(bytes, ReduceOp::kMax);
  return bytes.item<int64_t>();
}

double KeysPerToken(const PlannedRow& row, const DocumentMask& mask) {
  if (row.pieces.empty()) return std::numeric_limits<double>::quiet_NaN();
  double keys = 0;
  int64_t tokens = 0;
  for (const Piece& piece : row.pieces) {
    keys += mask.VisibleKeys(piece.num_targets) -
            mask.VisibleKeys(piece.num_context);
    tokens += piece.num_counted();
  }
  return keys / static_cast<double>(tokens);
}

ResultRow Heading(const PlannedRow& row, const EvaluatedMask& mask,
                  const EvaluationConfig& config) {
  ResultRow heading = {
      .protocol = row.protocol, .mask = mask, .length = row.length};
  if (row.protocol == SLIDING || row.protocol == SAME_TARGETS) {
    heading.stride = config.stride();
  }
  return heading;
}

// A NaN is not a result.
absl::Status CheckFinite(const ScoredRow& scores, const std::string& row) {
  const std::optional<NonFiniteTarget>& target = scores.non_finite;
  if (!target) return absl::OkStatus();
  return NumericError(absl::StrFormat(
      "%s: the NLL of document %d at position %d is not finite; remove this "
      "mask or length, or evaluate with model.precision=FP64; if every row "
      "fails like this, the weights themselves are not finite",
      row, target->document, target->place));
}

ResultRow Filled(ResultRow result, const PlannedRow& row,
                 const ScoredRow& scores, double num_bytes,
                 bool bytes_are_average, DeviceMesh& mesh) {
  const NllStatistics whole = scores.sums.Whole();
  result.nll = whole.nll;
  result.perplexity = std::exp(whole.nll);
  result.bits_per_byte =
      whole.nll * whole.tokens / std::numbers::ln2 / num_bytes;
  result.tokens = whole.tokens;
  result.bytes = num_bytes;
  result.bytes_are_average = bytes_are_average;
  result.documents = whole.documents;
  result.standard_error = whole.standard_error;
  result.keys_per_token = KeysPerToken(row, result.mask.mask);
  if (scores.targets_scored > 0) {
    result.tokens_per_second = scores.targets_scored / scores.seconds;
  }
  result.peak_memory_bytes = PeakMemoryBytes(mesh.world());
  // Places in windows are not places in a document.
  if (!result.stride) result.by_place = scores.sums.ByPlace();
  return result;
}

}  // namespace

absl::Status CheckEvaluation(const Documents& documents,
                             const ModelConfig& model,
                             const EvaluationConfig& config) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<PlannedRow> rows,
                          PlanRows(documents, config));
  LEXTRA_RETURN_IF_ERROR(CheckPlaces(model, config, rows));
  return CheckHasRows(model, config, rows);
}

absl::StatusOr<std::vector<ResultRow>> Evaluate(Transformer& model,
                                                DeviceMesh& mesh,
                                                const Documents& documents,
                                                const EvaluationConfig& config,
                                                const EvaluationHooks& hooks) {
  const absl::StatusOr<std::vector<PlannedRow>> rows =
      PlanRows(documents, config);
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(mesh.world(), rows.status()));
  LEXTRA_RETURN_IF_ERROR(CheckPlaces(model.config(), config, *rows));
  LEXTRA_RETURN_IF_ERROR(
      CheckMemory(model.config(), config, LongestOfAll(*rows, config), mesh));
  LEXTRA_ASSIGN_OR_RETURN(
      const TextBytes bytes,
      CountTextBytes(documents, *rows, hooks.averages_bytes, mesh.world()));

  std::vector<ResultRow> results;
  for (const EvaluatedMask& any_length : MasksOf(config, model.config())) {
    for (size_t i = 0; i < rows->size(); ++i) {
      const PlannedRow& row = (*rows)[i];
      const EvaluatedMask mask =
          any_length.ForPlaces(row.num_places(), model.config());
      if (!mask.is_distinct()) continue;
      LongDocumentScorer scorer(model, mesh, ScorerOptions(mask, config));
      const ResultRow heading = Heading(row, mask, config);
      const ScoredRow scores =
          ScoreRow(row, RowName(heading), documents, scorer, mesh,
                   hooks.journal, hooks.nll_sink);
      LEXTRA_RETURN_IF_ERROR(CheckFinite(scores, RowName(heading)));
      results.push_back(Filled(heading, row, scores, bytes.of_row[i],
                               bytes.are_average, mesh));
      if (hooks.logs_rows) LogInfo("%s", ResultLine(results.back()));
    }
  }
  return results;
}

}  // namespace lextra
