#include "parallel/flat_parameters.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lextra {

FlatParameters::FlatParameters(std::vector<Parameter*> parameters) {
  TORCH_CHECK(!parameters.empty(), "a model without parameters");
  std::stable_partition(
      parameters.begin(), parameters.end(),
      [](const Parameter* parameter) { return parameter->weight_decay; });
  int64_t num_elements = 0;
  for (Parameter* parameter : parameters) {
    const int64_t size = parameter->leaf.numel();
    TORCH_CHECK(parameter->leaf.dtype() == parameters[0]->leaf.dtype(),
                "parameters of two dtypes");
    slots_.push_back({parameter, num_elements, size});
    num_elements += size;
    if (parameter->weight_decay) num_decayed_ = num_elements;
  }
  const at::TensorOptions options = parameters[0]->leaf.options();
  values_ = at::empty({num_elements}, options.requires_grad(false));
  gradients_ = at::zeros_like(values_);
  for (const Slot& slot : slots_) {
    at::Tensor& leaf = slot.parameter->leaf;
    const at::Tensor place =
        values_.narrow(0, slot.begin, slot.size).view(leaf.sizes());
    place.copy_(leaf.detach());
    leaf.set_data(place);
    leaf.mutable_grad() =
        gradients_.narrow(0, slot.begin, slot.size).view(leaf.sizes());
  }
}

void FlatParameters::ZeroGradients() { gradients_.zero_(); }

}  // namespace lextra
