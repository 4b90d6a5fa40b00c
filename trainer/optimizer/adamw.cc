#include "trainer/optimizer/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <optional>
#include <vector>

namespace lextra {

AdamW::AdamW(FlatParameters& parameters, const OptimizerConfig& config)
    : parameters_(parameters),
      config_(config),
      exp_avg_(at::zeros({parameters.num_owned()},
                         parameters.gradients().options())),
      exp_avg_sq_(at::zeros_like(exp_avg_)),
      num_updates_(at::zeros({1}, exp_avg_.options().dtype(at::kFloat))) {}

int64_t AdamW::num_updates() const {
  return static_cast<int64_t>(num_updates_.item<float>());
}

std::vector<Optimizer::State> AdamW::state() const {
  return {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}};
}

void AdamW::set_num_updates(int64_t updates) {
  num_updates_.fill_(static_cast<double>(updates));
}

void AdamW::Step(double learning_rate, const at::Tensor& divisor,
                 const at::Tensor& skip) {
  RECORD_USER_SCOPE("optimizer: AdamW");
  const at::NoGradGuard no_grad;
  // The operator does not advance the step.
  num_updates_.add_(1 - skip);
  for (const bool weight_decay : {true, false}) {
    Update(weight_decay, learning_rate, divisor, skip);
  }
  parameters_.RoundMasters();
}

void AdamW::Update(bool weight_decay, double learning_rate,
                   const at::Tensor& divisor, const at::Tensor& skip) {
  std::vector<at::Tensor> values, gradients, exp_avg, exp_avg_sq;
  for (const FlatParameters::Piece& piece : parameters_.pieces()) {
    if (piece.weight_decay != weight_decay || piece.size == 0) continue;
    values.push_back(parameters_.Masters(piece));
    gradients.push_back(
        parameters_.gradients().narrow(0, piece.begin, piece.size));
    exp_avg.push_back(exp_avg_.narrow(0, piece.place, piece.size));
    exp_avg_sq.push_back(exp_avg_sq_.narrow(0, piece.place, piece.size));
  }
  if (values.empty()) return;
  // The operator divides the gradients by grad_scale, in place, but takes it
  // only in fp32.
  std::optional<at::Tensor> grad_scale = divisor;
  if (divisor.scalar_type() == at::kDouble) {
    for (const at::Tensor& gradient : gradients) gradient.div_(divisor);
    grad_scale.reset();
  }
  at::_fused_adamw_(values, gradients, exp_avg, exp_avg_sq, {},
                    std::vector<at::Tensor>(values.size(), num_updates_),
                    learning_rate, config_.beta1(), config_.beta2(),
                    weight_decay ? config_.weight_decay() : 0,
                    config_.epsilon(), /*amsgrad=*/false,
                    /*maximize=*/false, grad_scale,
                    /*found_inf=*/skip);
}

}  // namespace lextra
