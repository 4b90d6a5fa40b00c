// The learning rate of a step: linear warmup from 0, then decay to the minimum.
#ifndef LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_
#define LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_

#include <cstdint>

#include "config/run.pb.h"

namespace lextra {

// `step` counts from 0. Warmup step s has (s + 1) / warmup_steps of
// learning_rate. The last step of num_steps has min_learning_rate (cosine,
// linear; also if it is the only step after warmup) or learning_rate (constant,
// or warmup of all num_steps).
double LearningRate(const ScheduleConfig& schedule, int64_t step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_
