#include "model/parameter_shapes.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "config/model_facts.h"
#include "config/position_methods.h"

namespace lextra {
namespace {

// Collects names and shapes in the layers' terms.
class Shapes {
 public:
  explicit Shapes(const ModelConfig& model) : model_(model) {}

  void Matrix(const std::string& name, int64_t rows, int64_t columns) {
    shapes_[name + ".weight"] = {rows, columns};
  }
  void Linear(const std::string& name, int64_t out, int64_t in) {
    Matrix(name, out, in);
    if (model_.bias()) shapes_[name + ".bias"] = {out};
  }
  void Norm(const std::string& name, int64_t columns) {
    shapes_[name + ".weight"] = {columns};
    if (model_.norm() == LAYER_NORM && model_.bias()) {
      shapes_[name + ".bias"] = {columns};
    }
  }

  std::map<std::string, std::vector<int64_t>> Take() {
    return std::move(shapes_);
  }

 private:
  const ModelConfig& model_;
  std::map<std::string, std::vector<int64_t>> shapes_;
};

void AddLayer(const ModelConfig& model, const std::string& prefix,
              Shapes* shapes) {
  const int64_t hidden = model.hidden_size();
  const int64_t inner = model.ffn_hidden_size();
  const int64_t queries = int64_t{model.num_heads()} * model.head_dim();
  const int64_t keys = int64_t{model.num_kv_heads()} * model.head_dim();
  const std::string attention = prefix + "self_attn.";
  shapes->Norm(prefix + "self_attn_layer_norm", hidden);
  shapes->Linear(attention + "q_proj", queries, hidden);
  shapes->Linear(attention + "k_proj", keys, hidden);
  shapes->Linear(attention + "v_proj", keys, hidden);
  shapes->Linear(attention + "out_proj", hidden, queries);
  shapes->Norm(prefix + "final_layer_norm", hidden);
  if (model.activation() == SWIGLU) {
    shapes->Linear(prefix + "ffn.gate", inner, hidden);
  }
  shapes->Linear(prefix + "ffn.fc1", inner, hidden);
  shapes->Linear(prefix + "ffn.fc2", hidden, inner);
  if (!model.sub_ln()) return;
  shapes->Norm(attention + "inner_attn_ln", queries);
  shapes->Norm(prefix + "ffn.ffn_layernorm", inner);
}

}  // namespace

std::map<std::string, std::vector<int64_t>> ParameterShapes(
    const ModelConfig& model) {
  Shapes shapes(model);
  const int64_t hidden = model.hidden_size();
  shapes.Matrix("embed_tokens", PaddedVocab(model), hidden);
  if (!model.tie_word_embeddings()) {
    shapes.Matrix("output_projection", PaddedVocab(model), hidden);
  }
  if (FactsOf(model.position_encoding()).is_learned) {
    shapes.Matrix("embed_positions", model.training_length(), hidden);
  }
  for (int layer = 0; layer < model.num_layers(); ++layer) {
    AddLayer(model, absl::StrCat("layers.", layer, "."), &shapes);
  }
  shapes.Norm("layer_norm", hidden);
  return shapes.Take();
}

int64_t NumParameters(const ModelConfig& model) {
  int64_t total = 0;
  for (const auto& [name, shape] : ParameterShapes(model)) {
    int64_t numbers = 1;
    for (const int64_t size : shape) numbers *= size;
    total += numbers;
  }
  return total;
}

}  // namespace lextra
