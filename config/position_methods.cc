#include "config/position_methods.h"

#include "absl/strings/str_format.h"

namespace lextra {

const PositionMethodFacts& FactsOf(PositionMethod method) {
  static constexpr PositionMethodFacts kXPos = {
      .report_name = "xPos", .rotates = true, .has_exponent = true};
  static constexpr PositionMethodFacts kRope = {.report_name = "RoPE",
                                                .rotates = true};
  static constexpr PositionMethodFacts kNone = {.report_name = "NoPE"};
  static constexpr PositionMethodFacts kAlibi = {.report_name = "ALiBi"};
  static constexpr PositionMethodFacts kSinusoidal = {
      .report_name = "sinusoidal",
      .adds_to_embedding = true,
      .embeds_pairs = true};
  static constexpr PositionMethodFacts kLearned = {
      .report_name = "learned", .adds_to_embedding = true, .is_learned = true};
  // Without a default: the compiler names a method that is missing here.
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
  if (!FactsOf(model.position()).is_learned ||
      num_places <= model.training_length()) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrFormat(
      "model.position = %s has no row for a place beyond "
      "model.training_length = %d, and %d places are asked for: %s",
      PositionMethod_Name(model.position()), model.training_length(),
      num_places, remedy));
}

}  // namespace lextra
