#include "evaluator/scoring/evaluated_mask.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/position_methods.h"

namespace lextra {

std::string EvaluatedMask::Text() const {
  std::string text = MaskName(kind);
  if (block) absl::StrAppend(&text, " ", *block);
  if (window) {
    absl::StrAppend(&text, " ", sinks ? absl::StrCat(*sinks, "+") : "",
                    *window);
  }
  if (extension != UNCHANGED) {
    absl::StrAppend(&text, " + ", ExtensionName(extension),
                    exponent_extended ? " with exponent" : "");
  }
  return text;
}

EvaluatedMask MakeMask(Mask kind, Extension extension,
                       const EvaluationConfig& config, const ModelConfig& model,
                       int64_t num_places) {
  EvaluatedMask mask = {.kind = kind, .extension = extension};
  int64_t visible = num_places;
  if (kind == BCA) {
    mask.block = config.block_size();
    visible = std::min(visible, 2 * *mask.block);
  }
  if (kind == WINDOW || kind == SINKS) {
    mask.window = config.window_size();
    if (kind == SINKS) mask.sinks = config.num_sinks();
    visible = std::min(visible, *mask.window + mask.sinks.value_or(0));
  }
  if (extension != UNCHANGED) {
    mask.extension_factor = static_cast<double>(visible) /
                            static_cast<double>(model.training_length());
    mask.exponent_extended =
        FactsOf(model.position()).has_exponent && config.extend_xpos_exponent();
  }
  return mask;
}

LongDocumentScorer::Options ScorerOptions(const EvaluatedMask& mask,
                                          const EvaluationConfig& config) {
  return {.mask = mask.kind,
          .block_size = mask.block.value_or(0),
          .window_size = mask.window.value_or(0),
          .num_sinks = mask.sinks.value_or(0),
          .segment_tokens = config.segment_tokens(),
          .extension = {.method = mask.extension,
                        .factor = mask.extension_factor,
                        .scales_exponent = mask.exponent_extended}};
}

std::string ProtocolName(Protocol protocol) {
  return absl::AsciiStrToLower(Protocol_Name(protocol));
}

std::string MaskName(Mask mask) {
  return absl::AsciiStrToLower(Mask_Name(mask));
}

std::string ExtensionName(Extension extension) {
  return absl::AsciiStrToLower(Extension_Name(extension));
}

}  // namespace lextra
