// AdamW with decoupled weight decay (Loshchilov & Hutter 2019) on the flat
// parameters of a rank:
//   m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2,
//   p <- p - lr (wd p + (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)).
// Each rank holds m and v of its own parameters, in the parameters' dtype.
#ifndef LEXTRA_TRAINER_ADAMW_H_
#define LEXTRA_TRAINER_ADAMW_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "config/run.pb.h"
#include "parallel/flat_parameters.h"

namespace lextra {

class AdamW {
 public:
  // `parameters` outlives this.
  AdamW(FlatParameters& parameters, const OptimizerConfig& config);

  // One update with gradients multiplied by `gradient_factor` (the clip).
  void Step(double learning_rate, double gradient_factor);

  // Updates made so far: t of the formula. Set when a run resumes.
  int64_t num_updates() const { return num_updates_; }
  void set_num_updates(int64_t updates) { num_updates_ = updates; }

  // m and v, in the order of FlatParameters::values().
  const at::Tensor& exp_avg() const { return exp_avg_; }
  const at::Tensor& exp_avg_sq() const { return exp_avg_sq_; }

 private:
  void Update(int64_t begin, int64_t size, double learning_rate,
              double weight_decay, double gradient_factor);

  FlatParameters& parameters_;
  OptimizerConfig config_;
  at::Tensor exp_avg_;
  at::Tensor exp_avg_sq_;
  int64_t num_updates_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_ADAMW_H_
