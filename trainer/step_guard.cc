#include "trainer/step_guard.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "base/log.h"

namespace lextra {
namespace {

constexpr double kNoticeableZScore = 6;

}  // namespace

absl::Status StepGuard::Judge(const StepResult& result) {
  state_.set_skipped_in_a_row(result.skipped ? state_.skipped_in_a_row() + 1
                                             : 0);
  state_.set_not_finite_in_a_row(
      result.not_finite ? state_.not_finite_in_a_row() + 1 : 0);
  if (result.skipped) state_.set_skipped_steps(state_.skipped_steps() + 1);
  if (result.skipped || result.z_score > kNoticeableZScore) {
    LogWarning(
        "step %d%s: loss %f, gradient norm %f, z-score %.1f (%d skipped "
        "so far)",
        state_.step(), result.skipped ? " skipped" : " is a spike", result.loss,
        result.gradient_norm, result.z_score, state_.skipped_steps());
  }
  const int64_t not_finite = state_.not_finite_in_a_row();
  if (not_finite <= config_.optimizer().max_consecutive_skips()) {
    return absl::OkStatus();
  }
  return NumericError(absl::StrFormat(
      "%d consecutive steps had a non-finite loss or gradient; lower "
      "schedule.learning_rate (%g), or inspect the data of step %d",
      not_finite, config_.schedule().learning_rate(),
      state_.step() + 1 - not_finite));
}

absl::Status StepGuard::CheckEnd() const {
  const int64_t skipped = state_.skipped_steps();
  const int64_t not_finite = state_.not_finite_in_a_row();
  if (not_finite > 0) {
    return NumericError(absl::StrFormat(
        "loss or gradient of the last %d step(s), up to step %d, was not "
        "finite: these steps were skipped (%d skipped in total); lower "
        "schedule.learning_rate (%g), or inspect the data of step %d",
        not_finite, state_.step(), skipped, config_.schedule().learning_rate(),
        state_.step() + 1 - not_finite));
  }
  if (skipped > 0 && skipped >= state_.step()) {
    return NumericError(absl::StrFormat(
        "all %d steps were skipped: the model was not trained", skipped));
  }
  return absl::OkStatus();
}

}  // namespace lextra
