#include "trainer/adamw.h"

#include <ATen/ATen.h>

namespace lextra {

AdamW::AdamW(FlatParameters& parameters, const OptimizerConfig& config)
    : parameters_(parameters),
      config_(config),
      exp_avg_(at::zeros_like(parameters.values())),
      exp_avg_sq_(at::zeros_like(parameters.values())) {}

void AdamW::Step(double learning_rate, double gradient_factor) {
  ++num_updates_;
  const int64_t decayed = parameters_.num_decayed();
  const int64_t all = parameters_.values().numel();
  Update(0, decayed, learning_rate, config_.weight_decay(), gradient_factor);
  Update(decayed, all - decayed, learning_rate, 0, gradient_factor);
}

void AdamW::Update(int64_t begin, int64_t size, double learning_rate,
                   double weight_decay, double gradient_factor) {
  if (size == 0) return;
  const auto slice = [&](const at::Tensor& flat) {
    return std::vector<at::Tensor>{flat.narrow(0, begin, size)};
  };
  // The operator does not advance the step, and it divides gradients by
  // grad_scale.
  const at::Tensor step =
      at::full({1}, static_cast<double>(num_updates_), at::kFloat);
  std::optional<at::Tensor> divisor;
  if (gradient_factor != 1) divisor = at::full({1}, 1 / gradient_factor);
  const at::NoGradGuard no_grad;
  at::_fused_adamw_(slice(parameters_.values()), slice(parameters_.gradients()),
                    slice(exp_avg_), slice(exp_avg_sq_), {}, {step},
                    learning_rate, config_.beta1(), config_.beta2(),
                    weight_decay, config_.epsilon(), /*amsgrad=*/false,
                    /*maximize=*/false, divisor);
}

}  // namespace lextra
