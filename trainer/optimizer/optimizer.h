// How a rank updates the parameters that it owns. Code that saves, loads,
// compares or plans for optimizer state uses only this interface.
#ifndef LEXTRA_TRAINER_OPTIMIZER_OPTIMIZER_H_
#define LEXTRA_TRAINER_OPTIMIZER_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "config/run.pb.h"
#include "parallel/data_parallel/flat_parameters.h"

namespace lextra {

class Optimizer {
 public:
  // One number per owned parameter element, [num_owned] in the gradients'
  // dtype, laid out as the pieces of FlatParameters. A checkpoint names it
  // "optimizer.NAME." and the parameter's name.
  struct State {
    const char* name;
    at::Tensor flat;
  };

  virtual ~Optimizer() = default;

  // One update with gradients divided by `divisor` (the clip; [1], of the
  // gradients' dtype), or none if `skip` (fp32 [1]) is 1. Both are on the
  // parameters' device, so the host does not wait for the decision.
  virtual void Step(double learning_rate, const at::Tensor& divisor,
                    const at::Tensor& skip) = 0;

  // Updates made so far. Set when a run resumes. Reading it synchronizes with
  // the device.
  virtual int64_t num_updates() const = 0;
  virtual void set_num_updates(int64_t updates) = 0;

  // Always the same tensors; loading fills them.
  virtual std::vector<State> state() const = 0;
};

// `parameters` outlives the result.
std::unique_ptr<Optimizer> MakeOptimizer(FlatParameters& parameters,
                                         const OptimizerConfig& config);

}  // namespace lextra

#endif  // LEXTRA_TRAINER_OPTIMIZER_OPTIMIZER_H_
