// What a training run will need of a rank's memory, counted before its first
// step from what each layer keeps for its backward pass, what the loss makes of
// the vocabulary, and what a save copies.
#ifndef LEXTRA_TRAINER_MEMORY_PLAN_H_
#define LEXTRA_TRAINER_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "config/run.pb.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "trainer/optimizer/optimizer.h"

namespace lextra {

// Bytes of tensors; what the program, its libraries and communication hold
// comes on top.
struct MemoryPlan {
  int64_t parameters;  // values, and fp32 masters of bf16 ones
  int64_t gradients;
  int64_t optimizer;    // its state
  int64_t activations;  // at most at once, of one micro batch
  // What the loss takes on top of that: a chunk of logits and the gradients of
  // the output matrix and of the hidden states. 0 where the layers' backward
  // pass, which follows, takes more.
  int64_t loss_head;
  // This rank's share of a checkpoint, copied while it is saved. On the host.
  int64_t checkpoint_copy;
  bool on_gpu;

  // On the device that trains.
  int64_t total() const {
    return parameters + gradients + optimizer + activations + loss_head +
           (on_gpu ? 0 : checkpoint_copy);
  }
  std::string Text() const;  // in GiB
};

// `config` is resolved; `checkpoint_bytes`: of this rank's share of one.
MemoryPlan PlanMemory(const RunConfig& config, const FlatParameters& parameters,
                      const Optimizer& optimizer, int64_t checkpoint_bytes);

// Logs the most that this rank has taken of its GPU, and what was planned.
void ReportGpuMemory(const MemoryPlan& plan);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_MEMORY_PLAN_H_
