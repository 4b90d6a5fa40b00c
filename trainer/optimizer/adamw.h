// AdamW with decoupled weight decay (Loshchilov & Hutter 2019) on the flat
// parameters of a rank:
//   m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2,
//   p <- p - lr (wd p + (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)).
// Each rank holds m and v of the parameters that it owns, in their full dtype
// (FlatParameters), and updates those; with masters, values are then rounded
// from them.
#ifndef LEXTRA_TRAINER_OPTIMIZER_ADAMW_H_
#define LEXTRA_TRAINER_OPTIMIZER_ADAMW_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "config/run.pb.h"
#include "parallel/data_parallel/flat_parameters.h"

namespace lextra {

class AdamW {
 public:
  // `parameters` outlives this.
  AdamW(FlatParameters& parameters, const OptimizerConfig& config);

  // One update with gradients divided by `divisor` (the clip; [1], of the
  // gradients' dtype), or none at all where `skip` (fp32 [1]) is 1. Both are on
  // the parameters' device, so that no host waits for the decision.
  void Step(double learning_rate, const at::Tensor& divisor,
            const at::Tensor& skip);

  // Updates made so far: t of the formula. Set when a run resumes. Reading it
  // waits for the device.
  int64_t num_updates() const;
  void set_num_updates(int64_t updates);

  // m and v, [num_owned]: where the pieces of FlatParameters say.
  const at::Tensor& exp_avg() const { return exp_avg_; }
  const at::Tensor& exp_avg_sq() const { return exp_avg_sq_; }

 private:
  void Update(bool weight_decay, double learning_rate,
              const at::Tensor& divisor, const at::Tensor& skip);

  FlatParameters& parameters_;
  OptimizerConfig config_;
  at::Tensor exp_avg_;
  at::Tensor exp_avg_sq_;
  at::Tensor num_updates_;  // fp32 [1], exact up to 2^24
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_OPTIMIZER_ADAMW_H_
