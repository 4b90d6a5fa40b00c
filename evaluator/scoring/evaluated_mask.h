// What the queries of a result row see: a mask, and the scaling of a rotary
// model's angles under it.
#ifndef LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_
#define LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "evaluator/scoring/long_document_scorer.h"
#include "model/attention/document_mask.h"

namespace lextra {

struct EvaluatedMask {
  DocumentMask mask = {};
  RopeScaling::Type rope_scaling = RopeScaling::NONE;
  // Positions that a query can see, divided by the training length.
  double scaling_factor = 1;
  bool scales_exponent = false;  // of xPos

  // The same for pieces of up to `num_places` places.
  EvaluatedMask ForPlaces(int64_t num_places, const ModelConfig& model) const;
  // False if the scaling changes nothing: the row would be a duplicate.
  bool is_distinct() const {
    return rope_scaling == RopeScaling::NONE || scaling_factor > 1;
  }
  // "BCA 64", "causal + YaRN".
  std::string Text() const;
};

// Every mask of `config` with every scaling, in that order; both are resolved.
std::vector<EvaluatedMask> MasksOf(const EvaluationConfig& config,
                                   const ModelConfig& model);

LongDocumentScorer::Options ScorerOptions(const EvaluatedMask& mask,
                                          const EvaluationConfig& config);

// "non_overlapping", "causal", "yarn", ..: their names in files.
std::string ProtocolName(Protocol protocol);
std::string MaskName(Mask mask);
std::string RopeScalingName(RopeScaling::Type rope_scaling);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_EVALUATED_MASK_H_
