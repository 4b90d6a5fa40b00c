// What queries of a row of the results see: a mask with its sizes, and what
// became of the angles of a rotary model.
#ifndef LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_
#define LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "config/run.pb.h"
#include "evaluator/scoring/long_document_scorer.h"

namespace lextra {

struct EvaluatedMask {
  Mask kind = CAUSAL;
  std::optional<int64_t> block = std::nullopt;   // of BCA
  std::optional<int64_t> window = std::nullopt;  // of WINDOW and SINKS
  std::optional<int64_t> sinks = std::nullopt;   // of SINKS
  Extension extension = UNCHANGED;
  // Positions that a query can see, by the training length.
  double extension_factor = 1;
  bool exponent_extended = false;  // of xPos

  // False where the extension changes nothing: without it, the same again.
  bool is_distinct() const {
    return extension == UNCHANGED || extension_factor > 1;
  }
  // "bca 64", "sinks 4+128", "causal + yarn".
  std::string Text() const;
};

// For pieces of up to `num_places` places; `config` and `model` are resolved.
EvaluatedMask MakeMask(Mask kind, Extension extension,
                       const EvaluationConfig& config, const ModelConfig& model,
                       int64_t num_places);

LongDocumentScorer::Options ScorerOptions(const EvaluatedMask& mask,
                                          const EvaluationConfig& config);

// "non_overlapping", "causal", "yarn", ..: how results name them.
std::string ProtocolName(Protocol protocol);
std::string MaskName(Mask mask);
std::string ExtensionName(Extension extension);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_
