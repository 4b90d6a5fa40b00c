#include "trainer/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/model_facts.h"
#include "model/precision.h"
#include "ops/cuda_kernel.h"

namespace lextra {
namespace {

// Of VocabParallelCrossEntropy.
constexpr double kTokensPerLossChunk = 1024;

// Elements per token on this rank.
struct Widths {
  double stream;  // the residual stream; a part if split by tokens
  double whole_stream;
  double queries;
  double keys_and_values;
  double inner;  // of the feed forward
};

Widths WidthsOf(const RunConfig& config) {
  const ModelConfig& model = config.model();
  const double ranks = config.parallel().tensor();
  const double head = model.head_dim();
  const double split = config.parallel().sequence_parallel() ? ranks : 1;
  return {.stream = model.hidden_size() / split,
          .whole_stream = static_cast<double>(model.hidden_size()),
          .queries = model.num_heads() * head / ranks,
          .keys_and_values = 2 * model.num_kv_heads() * head / ranks,
          .inner = model.ffn_hidden_size() / ranks};
}

// Input and output of the preceding norm; packed heads, output of attention,
// and that of sub-LN.
double KeptByAttention(const ModelConfig& model, const Widths& w) {
  return 2 * w.stream + 2 * w.queries + w.keys_and_values +
         (model.sub_ln() ? w.queries : 0);
}

// Activations between the two linear layers.
double KeptInsideFeedForward(const ModelConfig& model, const Widths& w) {
  return (model.activation() == SWIGLU ? 3 : 2) * w.inner +
         (model.sub_ln() ? w.inner : 0);
}

// What a backward pass through the feed forward needs in addition to what it
// frees: gradients of its inner activations, its input and the residual stream.
double Passing(const ModelConfig& model, const Widths& w) {
  const double inside =
      model.activation() == GELU ? 1 : (model.sub_ln() ? 2 : 3);
  return inside * w.inner + w.whole_stream + w.stream;
}

// Elements per token at the end of the forward pass, and what the last layer's
// backward pass adds.
struct Activations {
  double kept;
  double in_backward;
};

Activations ActivationsOfToken(const RunConfig& config) {
  const ModelConfig& model = config.model();
  const Widths w = WidthsOf(config);
  const double inside = KeptInsideFeedForward(model, w);
  // With input and output of the preceding norm.
  const double layer = KeptByAttention(model, w) + 2 * w.stream + inside;
  const double layers = model.num_layers();
  const double passing = Passing(model, w);
  switch (config.parallel().recompute()) {
    case FULL:
      return {.kept = layers * w.stream, .in_backward = layer + passing};
    case SELECTIVE:
      return {.kept = layers * (layer - inside),
              .in_backward = inside + passing};
    default:
      return {.kept = layers * layer, .in_backward = passing};
  }
}

// Bytes of the loss while it is computed: `num_tokens` of the micro batch,
// values of `element` bytes, logits and their gradients of `wide` bytes.
double LossHeadBytes(const RunConfig& config, double num_tokens, double element,
                     double wide) {
  const Widths w = WidthsOf(config);
  const double rows = static_cast<double>(PaddedVocab(config.model())) /
                      config.parallel().tensor();
  const double chunk =
      rows * std::min<double>(num_tokens, kTokensPerLossChunk) * wide;
  const double matrix = rows * w.whole_stream;
  // A CPU multiplies bf16 in fp32, so the matrix is widened.
  const bool widens = element != wide && config.parallel().device() == CPU;
  // Input and output of the last norm, the whole hidden states if they are
  // split, and their gradient.
  const bool split = w.stream != w.whole_stream;
  const double of_token = 2 * w.stream + (split ? 2 : 1) * w.whole_stream;
  return chunk + (widens ? 2 : 1) * matrix * wide +
         of_token * num_tokens * element;
}

int64_t TokensAtOnce(const RunConfig& config) {
  const int64_t share =
      config.data().global_batch_size() / config.parallel().data();
  const int64_t micro_batch_size = config.data().micro_batch_size();
  return (micro_batch_size > 0 ? std::min(micro_batch_size, share) : share) *
         config.model().training_length();
}

}  // namespace

std::string MemoryPlan::Text() const {
  return absl::StrFormat(
      "%.2f GiB: parameters %.2f, gradients %.2f, optimizer state %.2f, "
      "activations %.2f, loss %.2f%s checkpoint copy %.2f%s",
      InGib(total()), InGib(parameters), InGib(gradients), InGib(optimizer),
      InGib(activations), InGib(loss_head), on_gpu ? "; on the host:" : ",",
      InGib(checkpoint_copy), on_gpu ? " GiB" : "");
}

MemoryPlan PlanMemory(const RunConfig& config, const FlatParameters& parameters,
                      const Optimizer& optimizer, int64_t checkpoint_bytes) {
  const at::Tensor& values = parameters.values();
  const int64_t state_size =
      static_cast<int64_t>(parameters.gradients().element_size());
  const int64_t owned = parameters.num_owned();
  int64_t optimizer_bytes = 0;
  for (const Optimizer::State& state : optimizer.state()) {
    optimizer_bytes += static_cast<int64_t>(state.flat.nbytes());
  }
  const auto num_tokens = static_cast<double>(TokensAtOnce(config));
  const auto element = static_cast<double>(values.element_size());
  const Activations of_token = ActivationsOfToken(config);
  const double in_backward = of_token.in_backward * num_tokens * element;
  const double in_loss = LossHeadBytes(config, num_tokens, element,
                                       static_cast<double>(state_size));
  return {
      .parameters = static_cast<int64_t>(values.nbytes()) +
                    (parameters.has_masters() ? owned * state_size : 0),
      .gradients = static_cast<int64_t>(parameters.gradients().nbytes()),
      .optimizer = optimizer_bytes,
      .activations = static_cast<int64_t>(of_token.kept * num_tokens * element +
                                          in_backward),
      .loss_head = static_cast<int64_t>(std::max(0.0, in_loss - in_backward)),
      .checkpoint_copy = checkpoint_bytes,
      .on_gpu = config.parallel().device() == CUDA};
}

void ReportGpuMemory(const MemoryPlan& plan) {
  const GpuMemory peak = LoadedCudaApi().peak_memory();
  LogInfo(
      "peak GPU memory: %.3f GiB allocated (planned %.3f), %.3f GiB reserved",
      InGib(peak.tensor_bytes), InGib(plan.total()), InGib(peak.held_bytes));
}

}  // namespace lextra
