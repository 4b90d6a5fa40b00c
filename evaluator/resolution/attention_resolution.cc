#include "evaluator/resolution/attention_resolution.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "evaluator/resolution/attention_score_collector.h"
#include "evaluator/scoring/evaluated_mask.h"
#include "evaluator/scoring/long_document_scorer.h"

namespace lextra {
namespace {

constexpr double kPointsPerOctave = 8;

// The first documents that have that many places and a target for the last.
absl::StatusOr<std::vector<int64_t>> LongDocuments(const Documents& documents,
                                                   int64_t length,
                                                   int64_t most) {
  std::vector<int64_t> found = DocumentsLongerThan(documents, length, most);
  if (!found.empty()) return found;
  return InputError(
      absl::StrFormat("no document has more than %d tokens, which "
                      "evaluation.resolution_lengths needs",
                      length));
}

// 0, 1, 2, .. and then kPointsPerOctave per octave, below `end`.
std::vector<int64_t> LogSpaced(int64_t end) {
  std::vector<int64_t> places;
  const double factor = std::exp2(1 / kPointsPerOctave);
  for (int64_t place = 0; place < end;
       place = std::max(place + 1,
                        static_cast<int64_t>(std::round(place * factor)))) {
    places.push_back(place);
  }
  return places;
}

// Mean over layers and heads of the standard deviation of s beyond the training
// length.
std::optional<double> SpreadBeyond(const at::Tensor& s_LHN, int64_t length) {
  const int64_t beyond = s_LHN.size(2) - length;
  if (beyond < 2) return std::nullopt;
  const at::Tensor spread =
      s_LHN.narrow(2, length, beyond).std(2, /*unbiased=*/false).mean();
  return spread.item<double>();
}

ResolutionRow RowOf(const EvaluatedMask& mask, int64_t num_documents,
                    at::Tensor s_LHN, int64_t training_length) {
  // Distances that no query sees are beyond all that some query sees.
  const int64_t visible = s_LHN[0][0].isfinite().sum().item<int64_t>();
  ResolutionRow row = {.mask = mask,
                       .length = s_LHN.size(2),
                       .documents = num_documents,
                       .resolution_LH = AttentionResolution(s_LHN),
                       .distances = LogSpaced(visible)};
  s_LHN = s_LHN.narrow(2, 0, visible);
  row.spread = SpreadBeyond(s_LHN, training_length);
  row.mean_scores_LN =
      s_LHN.mean(1).index_select(1, at::tensor(row.distances, at::kLong));
  return row;
}

// s [L, H, N] of the first `length` tokens of these documents.
at::Tensor MeanScoresOf(const Documents& documents,
                        const std::vector<int64_t>& chosen, int64_t length,
                        LongDocumentScorer& scorer, const Transformer& model,
                        DeviceMesh& mesh) {
  AttentionScoreCollector collector(model.config(), mesh, scorer.options(),
                                    length);
  scorer.Observe([&](int64_t layer, const at::Tensor& qkv_BTED,
                     const at::Tensor& positions_BT) {
    collector.Keep(layer, qkv_BTED, positions_BT);
  });
  const int64_t step = mesh.data().size();
  for (int64_t i = mesh.data().rank(); i < std::ssize(chosen); i += step) {
    const at::Tensor tokens = at::empty({1, length + 1}, at::kLong);
    const absl::Status status = documents.Read(
        chosen[i], 0,
        {tokens.mutable_data_ptr<int64_t>(), static_cast<size_t>(length + 1)});
    TORCH_CHECK(status.ok(), std::string(status.message()));
    scorer.Score(tokens);
    collector.FinishDocument();
  }
  return collector.Means();
}

// -inf is the score at a distance that no query sees; all others must be
// finite.
absl::Status CheckScores(const at::Tensor& s_LHN, const EvaluatedMask& mask) {
  const at::Tensor bad = (s_LHN.isnan() | s_LHN.isposinf()).nonzero();
  if (bad.size(0) == 0) return absl::OkStatus();
  return NumericError(absl::StrFormat(
      "resolution of %s at %d: the mean score of layer %d, head %d at distance "
      "%d is not finite; remove this mask or length",
      mask.Text(), s_LHN.size(2), bad[0][0].item<int64_t>(),
      bad[0][1].item<int64_t>(), bad[0][2].item<int64_t>()));
}

}  // namespace

absl::Status CheckResolutionLengths(const Documents& documents,
                                    const EvaluationConfig& config) {
  for (const int64_t length : config.resolution_lengths()) {
    LEXTRA_RETURN_IF_ERROR(LongDocuments(documents, length, 1).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ResolutionRow>> MeasureResolution(
    Transformer& model, DeviceMesh& mesh, const Documents& documents,
    const EvaluationConfig& config) {
  std::vector<ResolutionRow> rows;
  for (const int64_t length : config.resolution_lengths()) {
    LEXTRA_ASSIGN_OR_RETURN(
        const std::vector<int64_t> chosen,
        LongDocuments(documents, length, config.resolution_documents()));
    for (const EvaluatedMask& any_length : MasksOf(config, model.config())) {
      const EvaluatedMask mask = any_length.ForPlaces(length, model.config());
      if (!mask.is_distinct()) continue;
      LongDocumentScorer scorer(model, mesh, ScorerOptions(mask, config));
      const at::Tensor s_LHN =
          MeanScoresOf(documents, chosen, length, scorer, model, mesh);
      LEXTRA_RETURN_IF_ERROR(CheckScores(s_LHN, mask));
      rows.push_back(RowOf(mask, std::ssize(chosen), s_LHN,
                           model.config().training_length()));
      LogInfo("resolution of %s at %d: %.4f", mask.Text(), length,
              rows.back().resolution_LH.mean().item<double>());
    }
  }
  return rows;
}

}  // namespace lextra
