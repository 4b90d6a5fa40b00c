// The learning rate of a step: linear warm-up from 0, then decay to the
// minimum.
#ifndef LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_
#define LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_

#include <cstdint>

#include "config/run.pb.h"

namespace lextra {

// `step` counts from 0. Step s of the warm-up has (s + 1) / warmup_steps of
// learning_rate; the last step of num_steps has min_learning_rate (cosine,
// linear; also where it is the only step after the warm-up), or learning_rate
// (constant, or a warm-up of all num_steps).
double LearningRate(const ScheduleConfig& schedule, int64_t step);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_OPTIMIZER_LR_SCHEDULE_H_
