#include "model/recomputation.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Part : public torch::CustomClassHolder {
  explicit Part(std::function<at::Tensor(const at::Tensor&)> run_)
      : run(std::move(run_)) {}
  std::function<at::Tensor(const at::Tensor&)> run;
};

class RecomputedFunction
    : public torch::autograd::Function<RecomputedFunction> {
 public:
  // Autograd runs this without recording the operations inside.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<Part>& part) {
    context->save_for_backward({x});
    context->saved_data["part"] = c10::IValue::make_capsule(part);
    return part->run(x);
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const auto part = c10::static_intrusive_pointer_cast<Part>(
        context->saved_data["part"].toCapsule());
    const at::AutoGradMode recording(true);
    const at::Tensor x =
        context->get_saved_variables()[0].detach().requires_grad_(true);
    torch::autograd::backward({part->run(x)}, {gradients[0]});
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor Recomputed(std::function<at::Tensor(const at::Tensor&)> part,
                      const at::Tensor& x) {
  if (!at::GradMode::is_enabled()) return part(x);
  TORCH_CHECK(x.requires_grad(),
              "Recomputed: the part's input does not require a gradient");
  return RecomputedFunction::apply(x,
                                   c10::make_intrusive<Part>(std::move(part)));
}

}  // namespace lextra
