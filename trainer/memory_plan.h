// The memory that a training run needs per rank, computed before its first step
// from what each layer keeps for its backward pass, the logits of the loss, and
// the copy that a save makes.
#ifndef LEXTRA_TRAINER_MEMORY_PLAN_H_
#define LEXTRA_TRAINER_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "config/run.pb.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "trainer/optimizer/optimizer.h"

namespace lextra {

// Bytes of tensors. The program, its libraries and communication buffers are
// not included.
struct MemoryPlan {
  int64_t parameters;  // values, and fp32 masters of bf16 values
  int64_t gradients;
  int64_t optimizer;    // state
  int64_t activations;  // peak, of one micro batch
  // What the loss adds to the activations: a chunk of logits and the gradients
  // of the output matrix and of the hidden states. 0 if the layers' backward
  // pass, which follows, needs more.
  int64_t loss_head;
  // This rank's share of a checkpoint, copied to the host while it is saved.
  int64_t checkpoint_copy;
  bool on_gpu;

  // On the training device.
  int64_t total() const {
    return parameters + gradients + optimizer + activations + loss_head +
           (on_gpu ? 0 : checkpoint_copy);
  }
  std::string Text() const;  // in GiB
};

// `config` is resolved. `checkpoint_bytes`: this rank's share of a checkpoint.
MemoryPlan PlanMemory(const RunConfig& config, const FlatParameters& parameters,
                      const Optimizer& optimizer, int64_t checkpoint_bytes);

// Logs this rank's peak GPU memory and the planned amount.
void ReportGpuMemory(const MemoryPlan& plan);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_MEMORY_PLAN_H_
