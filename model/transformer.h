// The decoder: x = embed(tokens); for each layer x += attention(norm(x)), x +=
// feed_forward(norm(x)); hidden = norm(x). Pre-norm, with torchscale's names
// and, optionally, its second norms inside (sub-LN). All tensor-parallel layers
// are in parallel/tensor_parallel/sharded_layers.h.
//
// Legend: B batch, T place, C width, V vocabulary.
#ifndef LEXTRA_MODEL_TRANSFORMER_H_
#define LEXTRA_MODEL_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "model/attention/attention.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {

class Transformer {
 public:
  // `model` is resolved (config/resolve.h): heads and widths are divisible by
  // the tensor degree. The initial weights depend only on init_seed and each
  // parameter's name, so every layout starts from the same bits.
  Transformer(const ModelConfig& model, Communicator& tensor_axis);
  Transformer(const Transformer&) = delete;
  ~Transformer();

  // tokens int64 [B, T] -> hidden states after the last norm [B, T, C],
  // replicated over the tensor axis or split by tokens. positions int64 [B, T]
  // in the document are read by methods that add to the embedding; undefined: 0
  // .. T-1 in every row. With `states`, the residual stream after the embedding
  // and after each layer is appended to it.
  at::Tensor operator()(const at::Tensor& tokens_BT, Attention& attention,
                        const at::Tensor& positions_BT = {},
                        std::vector<at::Tensor>* states = nullptr);

  // Loss, NLL and logits of hidden states [N, C].
  VocabParallelCrossEntropy& cross_entropy();
  // What the backward pass recomputes; initially OFF. Attentions must then live
  // until it has run.
  void set_recomputation(Recomputation recomputation) {
    recomputation_ = recomputation;
  }

  // Called before a forward pass first reads these parameters, whose values may
  // still be in flight.
  using BeforeUse = std::function<void(const std::vector<Parameter*>&)>;
  void set_before_use(BeforeUse before_use) {
    before_use_ = std::move(before_use);
  }

  // Layout of the residual stream, including states and hidden states, over the
  // tensor axis: initially replicated. Split by tokens, hidden states are [B T
  // / P, C] (for gradients see sharded_layers.h).
  void set_activation_layout(ActivationLayout layout) { layout_ = layout; }
  ActivationLayout activation_layout() const { return layout_; }

  std::vector<Parameter*> parameters();
  // Key/value heads on this rank, and layers, for attentions and halos.
  int64_t num_kv_heads() const;
  int64_t num_layers() const;
  const ModelConfig& config() const { return config_; }

 private:
  class Layer;
  struct Parts;
  void WaitFor(const std::vector<Parameter*>& parameters) const {
    if (before_use_) before_use_(parameters);
  }

  ModelConfig config_;
  Communicator& tensor_axis_;
  int64_t num_kv_heads_;
  Recomputation recomputation_ = OFF;
  BeforeUse before_use_;
  ActivationLayout layout_ = ActivationLayout::kReplicated;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_TRANSFORMER_H_
