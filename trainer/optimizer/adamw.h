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
#include <vector>

#include "config/run.pb.h"
#include "parallel/data_parallel/flat_parameters.h"
#include "trainer/optimizer/optimizer.h"

namespace lextra {

class AdamW : public Optimizer {
 public:
  // `parameters` outlives this.
  AdamW(FlatParameters& parameters, const OptimizerConfig& config);

  void Step(double learning_rate, const at::Tensor& divisor,
            const at::Tensor& skip) override;

  // t of the formula.
  int64_t num_updates() const override;
  void set_num_updates(int64_t updates) override;

  // m and v.
  std::vector<State> state() const override;

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
