#include "model/initialization.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "absl/strings/match.h"
#include "base/seeds.h"
#include "base/work_counter.h"
#include "model/precision.h"

namespace lextra {
namespace {

// The standard deviation of the matrix `name`.
double StandardDeviation(const ModelConfig& model, const std::string& name) {
  const auto is = [&](const char* layer) {
    return absl::EndsWith(name, std::string(".") + layer + ".weight");
  };
  const double depth = 2.0 * model.num_layers();
  double deviation = model.init_std();
  if (is("out_proj") || is("fc2")) deviation /= std::sqrt(depth);
  if (model.sub_ln() &&
      (is("v_proj") || is("out_proj") || is("fc1") || is("fc2"))) {
    deviation *= std::sqrt(std::log(depth));
  }
  return deviation;
}

}  // namespace

Initializer MakeInitializer(const ModelConfig& model, at::Device device) {
  return [model, device](const std::string& name,
                         const std::vector<int64_t>& shape) -> at::Tensor {
    CountWork();
    const at::ScalarType dtype = MasterType(model.precision());
    const at::TensorOptions options = at::TensorOptions(dtype).device(device);
    if (absl::EndsWith(name, ".bias")) return at::zeros(shape, options);
    if (shape.size() == 1) return at::ones(shape, options);  // a norm's weight
    return at::empty(shape, at::kFloat)
        .normal_(0, StandardDeviation(model, name),
                 at::make_generator<at::CPUGeneratorImpl>(
                     SeedFor(model.init_seed(), name)))
        .to(options);
  };
}

}  // namespace lextra
