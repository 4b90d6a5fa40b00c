#include "config/position_methods.h"

#include "absl/strings/str_format.h"

namespace lextra {

const PositionMethodFacts& FactsOf(PositionMethod method) {
  static constexpr PositionMethodFacts kXPos = {.report_name = "xPos",
                                                .report_order = 0,
                                                .rotates = true,
                                                .has_exponent = true};
  static constexpr PositionMethodFacts kRope = {
      .report_name = "RoPE", .report_order = 1, .rotates = true};
  static constexpr PositionMethodFacts kNone = {.report_name = "NoPE",
                                                .report_order = 5};
  static constexpr PositionMethodFacts kAlibi = {.report_name = "ALiBi",
                                                 .report_order = 2};
  static constexpr PositionMethodFacts kSinusoidal = {
      .report_name = "sinusoidal",
      .report_order = 3,
      .adds_to_embedding = true,
      .embeds_pairs = true};
  static constexpr PositionMethodFacts kLearned = {.report_name = "learned",
                                                   .report_order = 4,
                                                   .adds_to_embedding = true,
                                                   .is_learned = true};
  // No default: the compiler names a method that is missing here.
  switch (method) {
    case XPOS:
      return kXPos;
    case ROPE:
      return kRope;
    case NONE:
      return kNone;
    case ALIBI:
      return kAlibi;
    case SINUSOIDAL:
      return kSinusoidal;
    case LEARNED:
      return kLearned;
  }
  return kNone;
}

absl::Status CheckHasPlaces(const ModelConfig& model, int64_t num_places,
                            const char* remedy) {
  if (!FactsOf(model.position_encoding()).is_learned ||
      num_places <= model.training_length()) {
    return absl::OkStatus();
  }
  return UsageError(
      absl::StrFormat("model.position_encoding = %s: no positions beyond "
                      "model.training_length = %d, but %d were requested; %s",
                      PositionMethod_Name(model.position_encoding()),
                      model.training_length(), num_places, remedy));
}

}  // namespace lextra
