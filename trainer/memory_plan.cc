#include "trainer/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/memory.h"
#include "model/precision.h"

namespace lextra {
namespace {

// Numbers of a token on this rank.
struct Widths {
  double stream;  // the residual stream; split by tokens it is a part
  double whole_stream;
  double queries;
  double keys_and_values;
  double inner;  // of the feed forward
};

Widths WidthsOf(const RunConfig& config) {
  const ModelConfig& model = config.model();
  const double ranks = config.parallel().tensor();
  const double head = model.head_size();
  const double split = config.parallel().sequence_regions() ? ranks : 1;
  return {.stream = model.width() / split,
          .whole_stream = static_cast<double>(model.width()),
          .queries = model.num_heads() * head / ranks,
          .keys_and_values = 2 * model.num_kv_heads() * head / ranks,
          .inner = model.ffn_width() / ranks};
}

// Input and output of the norm before; packed heads, output of attention, and
// that of sub-LN.
double KeptByAttention(const ModelConfig& model, const Widths& w) {
  return 2 * w.stream + 2 * w.queries + w.keys_and_values +
         (model.sub_ln() ? w.queries : 0);
}

// What is made between the two linear layers.
double KeptInsideFeedForward(const ModelConfig& model, const Widths& w) {
  return (model.activation() == SWIGLU ? 3 : 2) * w.inner +
         (model.sub_ln() ? w.inner : 0);
}

// What a backward pass through the feed forward takes on top of what it frees
// on its way: gradients of its inside, of its input and of the residual stream.
double Passing(const ModelConfig& model, const Widths& w) {
  const double inside =
      model.activation() == GELU ? 1 : (model.sub_ln() ? 2 : 3);
  return inside * w.inner + w.whole_stream + w.stream;
}

// At the beginning of the backward pass; what the last norm and the loss keep
// is gone when the last layer's needs most.
double ActivationsOfToken(const RunConfig& config) {
  const ModelConfig& model = config.model();
  const Widths w = WidthsOf(config);
  const double inside = KeptInsideFeedForward(model, w);
  // With input and output of the norm before.
  const double layer = KeptByAttention(model, w) + 2 * w.stream + inside;
  const double layers = model.num_layers();
  switch (config.parallel().recompute()) {
    case FULL:
      return layers * w.stream + layer + Passing(model, w);
    case SELECTIVE:
      return layers * (layer - inside) + inside + Passing(model, w);
    default:
      return layers * layer + Passing(model, w);
  }
}

int64_t TokensAtOnce(const RunConfig& config) {
  const int64_t share = config.data().global_batch() / config.parallel().data();
  const int64_t micro_batch = config.data().micro_batch();
  return (micro_batch > 0 ? std::min(micro_batch, share) : share) *
         config.model().training_length();
}

}  // namespace

std::string MemoryPlan::Text() const {
  return absl::StrFormat(
      "%.2f GiB of tensors: parameters %.2f, gradients %.2f, optimizer state "
      "%.2f, activations %.2f",
      InGib(total()), InGib(parameters), InGib(gradients), InGib(optimizer),
      InGib(activations));
}

MemoryPlan PlanMemory(const RunConfig& config,
                      const FlatParameters& parameters) {
  const at::Tensor& values = parameters.values();
  const int64_t state_size =
      static_cast<int64_t>(parameters.gradients().element_size());
  const int64_t owned = parameters.num_owned();
  return {.parameters = static_cast<int64_t>(values.nbytes()) +
                        (parameters.has_masters() ? owned * state_size : 0),
          .gradients = static_cast<int64_t>(parameters.gradients().nbytes()),
          .optimizer = 2 * owned * state_size,
          .activations = static_cast<int64_t>(ActivationsOfToken(config) *
                                              TokensAtOnce(config) *
                                              values.element_size())};
}

}  // namespace lextra
