#include "evaluator/scoring/evaluated_mask.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/position_methods.h"

namespace lextra {
namespace {

std::string ScalingText(RopeScaling::Type rope_scaling) {
  switch (rope_scaling) {
    case RopeScaling::NONE:
      return "none";
    case RopeScaling::LINEAR:
      return "linear";
    case RopeScaling::NTK:
      return "NTK";
    case RopeScaling::YARN:
      return "YaRN";
  }
  return "";
}

}  // namespace

EvaluatedMask EvaluatedMask::ForPlaces(int64_t num_places,
                                       const ModelConfig& model) const {
  EvaluatedMask of_places = *this;
  if (rope_scaling != RopeScaling::NONE) {
    of_places.scaling_factor = static_cast<double>(mask.Span(num_places)) /
                               static_cast<double>(model.training_length());
  }
  return of_places;
}

std::string EvaluatedMask::Text() const {
  if (rope_scaling == RopeScaling::NONE) return mask.Text();
  return absl::StrCat(mask.Text(), " + ", ScalingText(rope_scaling),
                      scales_exponent ? " with exponent" : "");
}

std::vector<EvaluatedMask> MasksOf(const EvaluationConfig& config,
                                   const ModelConfig& model) {
  const bool scales_exponent =
      FactsOf(model.position_encoding()).has_exponent &&
      config.scale_xpos_exponent();
  std::vector<EvaluatedMask> masks;
  for (const int kind : config.masks()) {
    for (const int scaling : config.rope_scaling()) {
      masks.push_back(
          {.mask = MaskOf(static_cast<Mask>(kind), config),
           .rope_scaling = static_cast<RopeScaling::Type>(scaling),
           .scales_exponent = scaling != RopeScaling::NONE && scales_exponent});
    }
  }
  return masks;
}

LongDocumentScorer::Options ScorerOptions(const EvaluatedMask& mask,
                                          const EvaluationConfig& config) {
  return {.mask = mask.mask,
          .segment_tokens = config.segment_tokens(),
          .angle_scaling = {.method = mask.rope_scaling,
                            .factor = mask.scaling_factor,
                            .scales_exponent = mask.scales_exponent}};
}

std::string ProtocolName(Protocol protocol) {
  return absl::AsciiStrToLower(Protocol_Name(protocol));
}

std::string MaskName(Mask mask) {
  return absl::AsciiStrToLower(Mask_Name(mask));
}

std::string RopeScalingName(RopeScaling::Type rope_scaling) {
  return absl::AsciiStrToLower(RopeScaling::Type_Name(rope_scaling));
}

}  // namespace lextra
