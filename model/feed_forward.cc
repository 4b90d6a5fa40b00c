#include "model/feed_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/cuda/swiglu.h"
#include "ops/cuda_kernel.h"

namespace lextra {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor SwiGluByKernel(const at::Tensor& packed) {
  static const CudaKernel<SwiGluCuda> kernel(&CudaKernels::swi_glu);
  std::vector<int64_t> shape = packed.sizes().vec();
  shape.back() /= 2;
  const at::Tensor y = at::empty(shape, packed.options());
  kernel({.type = ElementTypeOf(packed.scalar_type()),
          .packed = packed.const_data_ptr(),
          .y = y.mutable_data_ptr(),
          .rows = packed.numel() / packed.size(-1),
          .columns = shape.back()},
         packed.device());
  return y;
}

at::Tensor SwiGluGradientByKernel(const at::Tensor& packed,
                                  const at::Tensor& dy) {
  static const CudaKernel<SwiGluGradientCuda> kernel(
      &CudaKernels::swi_glu_gradient);
  const at::Tensor dpacked = at::empty_like(packed);
  kernel({.type = ElementTypeOf(packed.scalar_type()),
          .packed = packed.const_data_ptr(),
          .dy = dy.const_data_ptr(),
          .dpacked = dpacked.mutable_data_ptr(),
          .rows = packed.numel() / packed.size(-1),
          .columns = packed.size(-1) / 2},
         packed.device());
  return dpacked;
}

// silu(gate) * up of a packed [.., gate | up]. Written by hand, because
// autograd would pad the gradient of each half with zeros and add the two.
class SwiGlu : public torch::autograd::Function<SwiGlu> {
 public:
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& packed) {
    RECORD_USER_SCOPE("activation: SwiGlu");
    context->save_for_backward({packed});
    if (packed.is_cuda()) return SwiGluByKernel(packed.contiguous());
    const int64_t width = packed.size(-1) / 2;
    return at::silu(packed.narrow(-1, 0, width))
        .mul_(packed.narrow(-1, width, width));
  }

  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    RECORD_USER_SCOPE("activation: SwiGluGradient");
    const at::Tensor packed = context->get_saved_variables()[0];
    if (packed.is_cuda()) {
      return {SwiGluGradientByKernel(packed.contiguous(),
                                     gradients[0].contiguous())};
    }
    const int64_t width = packed.size(-1) / 2;
    const at::Tensor gate = packed.narrow(-1, 0, width);
    const at::Tensor up = packed.narrow(-1, width, width);
    const at::Tensor dpacked = at::empty_like(packed);
    at::Tensor dgate = dpacked.narrow(-1, 0, width);
    at::Tensor dup = dpacked.narrow(-1, width, width);
    at::silu_backward_out(dgate, gradients[0] * up, gate);
    at::silu_out(dup, gate);
    dup.mul_(gradients[0]);
    return {dpacked};
  }
};

std::vector<ColumnParallelLinear::Output> Outputs(const ModelConfig& model,
                                                  const std::string& name) {
  std::vector<ColumnParallelLinear::Output> outputs;
  if (model.activation() == SWIGLU) {
    outputs.push_back({name + ".gate", model.ffn_hidden_size()});
  }
  outputs.push_back({name + ".fc1", model.ffn_hidden_size()});
  return outputs;
}

}  // namespace

FeedForward::FeedForward(const ModelConfig& model, const std::string& name,
                         Communicator& tensor_axis,
                         const Initializer& initialize)
    : activation_(model.activation()),
      in_(tensor_axis, Outputs(model, name), model.hidden_size(), model.bias(),
          initialize),
      fc2_(tensor_axis, name + ".fc2", model.hidden_size(),
           model.ffn_hidden_size(), model.bias(), initialize) {
  if (model.sub_ln()) {
    norm_.emplace(model.norm(), name + ".ffn_layernorm",
                  model.ffn_hidden_size(), model.norm_epsilon(), model.bias(),
                  &tensor_axis, initialize);
  }
}

at::Tensor FeedForward::operator()(const at::Tensor& x,
                                   ActivationLayout layout) {
  at::Tensor y = activation_ == SWIGLU ? SwiGlu::apply(in_(x, layout))
                                       : in_.Gelu(x, layout);
  if (norm_) y = (*norm_)(y);
  return fc2_(y, layout);
}

std::vector<Parameter*> FeedForward::parameters() {
  std::vector<Parameter*> all = in_.parameters();
  const auto append = [&](const std::vector<Parameter*>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  if (norm_) append(norm_->parameters());
  append(fc2_.parameters());
  return all;
}

}  // namespace lextra
