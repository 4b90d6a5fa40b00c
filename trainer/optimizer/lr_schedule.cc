#include "trainer/optimizer/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lextra {

double LearningRate(const ScheduleConfig& schedule, int64_t step) {
  const double peak = schedule.learning_rate();
  if (step < schedule.warmup_steps()) {
    return peak * static_cast<double>(step + 1) / schedule.warmup_steps();
  }
  const auto span =
      static_cast<double>(schedule.num_steps() - 1 - schedule.warmup_steps());
  // If the last step is the only one after warmup, it has the minimum.
  const double progress =
      span > 0
          ? std::min(1.0,
                     static_cast<double>(step - schedule.warmup_steps()) / span)
          : 1;
  const double floor = schedule.min_learning_rate();
  switch (schedule.decay()) {
    case COSINE:
      return floor +
             (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    case LINEAR:
      return peak + (floor - peak) * progress;
    case CONSTANT:
      return peak;
  }
  return peak;
}

}  // namespace lextra
