#include "model/transformer.h"

#include <ATen/TensorOperators.h>

#include <optional>
#include <string>

#include "base/io/system_calls.h"
#include "config/model_facts.h"
#include "config/position_methods.h"
#include "model/feed_forward.h"
#include "model/initialization.h"
#include "model/norm.h"
#include "model/position/position_embedding.h"
#include "model/recomputation.h"
#include "model/self_attention.h"

namespace lextra {
namespace {

NormLayer ReplicatedNorm(const ModelConfig& model, const std::string& name,
                         const Initializer& initialize) {
  return NormLayer(model.norm(), name, model.hidden_size(),
                   model.norm_epsilon(), model.bias(), /*split_over=*/nullptr,
                   initialize);
}

// `model`, if it is resolved and its heads divide evenly among the ranks.
const ModelConfig& Checked(const ModelConfig& model, int num_ranks) {
  TORCH_CHECK(model.vocab_size() > 0 && model.num_kv_heads() > 0 &&
                  model.head_dim() > 0 && model.ffn_hidden_size() > 0 &&
                  model.num_heads() % model.num_kv_heads() == 0 &&
                  model.num_kv_heads() % num_ranks == 0,
              "a model on ", num_ranks,
              " tensor ranks is not resolved: ", model.ShortDebugString());
  return model;
}

std::vector<Parameter*> Joined(
    const std::vector<std::vector<Parameter*>>& lists) {
  std::vector<Parameter*> all;
  for (const std::vector<Parameter*>& some : lists) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// The residual stream is x + branch: norms add the branch in the same pass in
// which they read x. [B, T, C], or split by tokens.
struct ResidualStream {
  at::Tensor x;
  at::Tensor branch;  // undefined before the first layer

  at::Tensor Sum() const { return branch.defined() ? x + branch : x; }
};

// How all layers run in this forward pass.
struct Pass {
  Attention& attention;
  int64_t length;  // T
  ActivationLayout layout;
};

}  // namespace

class Transformer::Layer {
 public:
  Layer(const ModelConfig& model, int64_t index, Communicator& tensor_axis,
        const Initializer& initialize)
      : Layer(model, index, "layers." + std::to_string(index) + ".",
              tensor_axis, initialize) {}

  ResidualStream operator()(const ResidualStream& in, const Pass& pass,
                            Recomputation recomputation) {
    if (recomputation == FULL) {
      const auto layer = [this, pass](const at::Tensor& x) {
        return (*this)({.x = x, .branch = {}}, pass, OFF).Sum();
      };
      return {.x = Recomputed(layer, in.Sum()), .branch = {}};
    }
    const auto [x, attention_in] = attention_norm_(in.x, in.branch);
    const at::Tensor attended =
        self_attention_(attention_in, pass.length, pass.attention, pass.layout);
    const auto [y, feed_forward_in] = feed_forward_norm_(x, attended);
    const auto inside = [this, layout = pass.layout](const at::Tensor& in) {
      return feed_forward_(in, layout);
    };
    return {y, recomputation == OFF ? inside(feed_forward_in)
                                    : Recomputed(inside, feed_forward_in)};
  }

  std::vector<Parameter*> parameters() {
    return Joined({attention_norm_.parameters(), self_attention_.parameters(),
                   feed_forward_norm_.parameters(),
                   feed_forward_.parameters()});
  }

 private:
  Layer(const ModelConfig& model, int64_t index, const std::string& prefix,
        Communicator& tensor_axis, const Initializer& initialize)
      : attention_norm_(
            ReplicatedNorm(model, prefix + "self_attn_layer_norm", initialize)),
        self_attention_(model, index, prefix + "self_attn", tensor_axis,
                        initialize),
        feed_forward_norm_(
            ReplicatedNorm(model, prefix + "final_layer_norm", initialize)),
        feed_forward_(model, prefix + "ffn", tensor_axis, initialize) {}

  NormLayer attention_norm_;
  SelfAttention self_attention_;
  // torchscale's final_layer_norm: the norm before the feed forward.
  NormLayer feed_forward_norm_;
  FeedForward feed_forward_;
};

struct Transformer::Parts {
  Parts(const ModelConfig& model, Communicator& tensor_axis,
        const Initializer& initialize)
      : embedding(tensor_axis, "embed_tokens", PaddedVocab(model),
                  model.hidden_size(), initialize),
        positions(model, tensor_axis, initialize),
        norm(ReplicatedNorm(model, "layer_norm", initialize)) {
    if (!model.tie_word_embeddings()) {
      output.emplace(tensor_axis, "output_projection", PaddedVocab(model),
                     model.hidden_size(), initialize);
    }
    cross_entropy.emplace(tensor_axis, output ? *output : embedding,
                          model.vocab_size());
    for (int64_t index = 0; index < model.num_layers(); ++index) {
      layers.push_back(
          std::make_unique<Layer>(model, index, tensor_axis, initialize));
    }
  }

  // Parameters before and after all layers.
  std::vector<Parameter*> FirstParameters() {
    return Joined({embedding.parameters(), positions.parameters()});
  }
  std::vector<Parameter*> LastParameters() {
    return Joined({norm.parameters(),
                   output ? output->parameters() : std::vector<Parameter*>()});
  }

  VocabParallelEmbedding embedding;
  PositionEmbedding positions;
  std::vector<std::unique_ptr<Layer>> layers;
  NormLayer norm;
  std::optional<VocabParallelEmbedding> output;  // if it is not tied
  std::optional<VocabParallelCrossEntropy> cross_entropy;
};

Transformer::Transformer(const ModelConfig& model, Communicator& tensor_axis)
    : config_(Checked(model, tensor_axis.size())),
      tensor_axis_(tensor_axis),
      num_kv_heads_(model.num_kv_heads() / tensor_axis.size()),
      parts_(std::make_unique<Parts>(
          model, tensor_axis, MakeInitializer(model, tensor_axis.device()))) {}

Transformer::~Transformer() = default;

at::Tensor Transformer::operator()(const at::Tensor& tokens_BT,
                                   Attention& attention,
                                   const at::Tensor& positions_BT,
                                   std::vector<at::Tensor>* states) {
  const auto note = [&](const ResidualStream& stream) {
    if (states != nullptr) states->push_back(stream.Sum());
  };
  WaitFor(parts_->FirstParameters());
  at::Tensor x = parts_->embedding(tokens_BT, layout_);
  if (config_.embedding_scale() != 1) x = x * config_.embedding_scale();
  x = parts_->positions.AddTo(x, tokens_BT.sizes(), positions_BT, layout_);
  ResidualStream stream = {.x = x, .branch = {}};
  const Pass pass = {attention, tokens_BT.size(1), layout_};
  note(stream);
  for (const std::unique_ptr<Layer>& layer : parts_->layers) {
    WaitFor(layer->parameters());
    stream = (*layer)(stream, pass, recomputation_);
    note(stream);
    sys::KillPoint("layer");
    tensor_axis_.MarkWork();
  }
  WaitFor(parts_->LastParameters());
  return parts_->norm(stream.x, stream.branch).normalized;
}

VocabParallelCrossEntropy& Transformer::cross_entropy() {
  return *parts_->cross_entropy;
}

std::vector<Parameter*> Transformer::parameters() {
  std::vector<std::vector<Parameter*>> lists = {parts_->FirstParameters()};
  for (const std::unique_ptr<Layer>& layer : parts_->layers) {
    lists.push_back(layer->parameters());
  }
  lists.push_back(parts_->LastParameters());
  return Joined(lists);
}

int64_t Transformer::num_kv_heads() const { return num_kv_heads_; }

int64_t Transformer::num_layers() const { return config_.num_layers(); }

}  // namespace lextra
