// What a training run will need of a rank's memory, counted before its first
// step from what each layer keeps for its backward pass.
#ifndef LEXTRA_TRAINER_MEMORY_PLAN_H_
#define LEXTRA_TRAINER_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "config/run.pb.h"
#include "parallel/flat_parameters.h"

namespace lextra {

// Bytes of tensors; what the program, its libraries and communication hold
// comes on top.
struct MemoryPlan {
  int64_t parameters;  // values, and fp32 masters of bf16 ones
  int64_t gradients;
  int64_t optimizer;    // both moments
  int64_t activations;  // at most at once, of one micro batch

  int64_t total() const {
    return parameters + gradients + optimizer + activations;
  }
  std::string Text() const;  // in GiB
};

// `config` is resolved.
MemoryPlan PlanMemory(const RunConfig& config,
                      const FlatParameters& parameters);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_MEMORY_PLAN_H_
