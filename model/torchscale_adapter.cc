#include "model/torchscale_adapter.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "config/model_facts.h"
#include "config/resolve.h"
#include "model/parameter_shapes.h"

namespace lextra {
namespace {

using Json = nlohmann::json;

constexpr double kXposTolerance = 1e-6;

// Fields of DecoderConfig with the only value that our model supports.
const std::map<std::string, Json>& RequiredFields() {
  static const auto& fields = *new std::map<std::string, Json>{
      {"activation_fn", "gelu"}, {"decoder_normalize_before", true},
      {"deepnorm", false},       {"layernorm_embedding", false},
      {"max_rel_pos", 0},        {"moe_freq", 0},
      {"multiway", false},       {"no_output_layer", false},
      {"rel_pos_buckets", 0},    {"use_xmoe", false}};
  return fields;
}

// Fields that do not affect the forward pass of a trained model.
const std::set<std::string>& IgnoredFields() {
  static const auto& fields =
      *new std::set<std::string>{"activation_dropout",
                                 "attention_dropout",
                                 "bert_init",
                                 "checkpoint_activations",
                                 "ddp_rank",
                                 "drop_path_rate",
                                 "dropout",
                                 "fsdp",
                                 "max_target_positions",
                                 "moe_eval_capacity_token_fraction",
                                 "moe_expert_count",
                                 "moe_gating_use_fp32",
                                 "moe_normalize_gate_prob_before_dropping",
                                 "moe_second_expert_policy",
                                 "moe_top1_expert"};
  return fields;
}

// Takes the fields of an object one by one; those not taken are unknown. Keeps
// the first error.
class FieldReader {
 public:
  explicit FieldReader(const Json& object) : object_(object) {}

  int32_t Count(const std::string& name) {
    const Json value = TakeField(name, nullptr);
    if (value.is_number_unsigned() && value >= 1 && value <= 1 << 30) {
      return value;
    }
    return Fail<int32_t>(name, value, "a whole number of at least 1");
  }
  double Number(const std::string& name, double standard) {
    const Json value = TakeField(name, standard);
    if (value.is_number()) return value;
    return Fail<double>(name, value, "a number");
  }
  bool Truth(const std::string& name, bool standard) {
    const Json value = TakeField(name, standard);
    if (value.is_boolean()) return value;
    return Fail<bool>(name, value, "true or false");
  }
  void Require(const std::string& name, const Json& only) {
    const Json value = TakeField(name, only);
    if (value != only) Fail<int>(name, value, only.dump());
  }
  void Ignore(const std::string& name) { taken_.insert(name); }

  // OK if every field was valid and none is left.
  absl::Status Finish() {
    for (const auto& [name, value] : object_.items()) {
      if (!taken_.contains(name)) {
        Fail<int>(name, value, "no field of this name");
      }
    }
    return status_;
  }

 private:
  Json TakeField(const std::string& name, const Json& standard) {
    taken_.insert(name);
    return object_.value(name, standard);
  }

  template <typename Value>
  Value Fail(const std::string& name, const Json& value,
             const std::string& expected) {
    if (status_.ok()) {
      status_ = InputError(absl::StrCat("field '", name, "' is ", value.dump(),
                                        ", expected ", expected));
    }
    return Value();
  }

  const Json& object_;
  std::set<std::string> taken_;
  absl::Status status_;
};

absl::StatusOr<ModelConfig> ModelOf(const Json& fields,
                                    int32_t training_length) {
  FieldReader reader(fields);
  ModelConfig model;
  model.set_training_length(training_length);
  model.set_vocab_size(reader.Count("vocab_size"));
  model.set_num_layers(reader.Count("decoder_layers"));
  model.set_hidden_size(reader.Count("decoder_embed_dim"));
  model.set_num_heads(reader.Count("decoder_attention_heads"));
  model.set_ffn_hidden_size(reader.Count("decoder_ffn_embed_dim"));
  model.set_norm(LAYER_NORM);
  model.set_norm_epsilon(reader.Number("layernorm_eps", 1e-5));
  model.set_sub_ln(reader.Truth("subln", true));
  model.set_activation(GELU);
  model.set_bias(true);
  model.set_tie_word_embeddings(
      reader.Truth("share_decoder_input_output_embed", false));
  model.set_embedding_scale(reader.Truth("no_scale_embedding", true)
                                ? 1.0
                                : std::sqrt(model.hidden_size()));
  model.set_position_encoding(reader.Truth("xpos_rel_pos", false) ? XPOS
                                                                  : NONE);
  model.set_xpos_scale_base(reader.Number("xpos_scale_base", 512));
  for (const auto& [name, value] : RequiredFields()) {
    reader.Require(name, value);
  }
  for (const std::string& name : IgnoredFields()) reader.Ignore(name);
  LEXTRA_RETURN_IF_ERROR(reader.Finish());
  return model;
}

using Shapes = std::map<std::string, std::vector<int64_t>>;

// xPos' decay of each pair of a head (Sun et al. 2022, eq. 11): the buffers
// must equal what our model computes from its configuration.
at::Tensor XposScale(const ModelConfig& model) {
  const double head_dim = model.head_dim();
  const at::Tensor pair = at::arange(0, model.head_dim(), 2, at::kDouble);
  return (pair + model.xpos_gamma() * head_dim) /
         ((1 + model.xpos_gamma()) * head_dim);
}

bool BitEqual(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

// Moves the xPos buffers out of `state_dict`; a model may lack them.
StateDict TakeXposBuffers(const ModelConfig& model, StateDict* state_dict) {
  StateDict buffers;
  for (int layer = 0;
       model.position_encoding() == XPOS && layer < model.num_layers();
       ++layer) {
    auto buffer = state_dict->extract(
        absl::StrCat("layers.", layer, ".self_attn.xpos.scale"));
    if (!buffer.empty()) buffers.insert(std::move(buffer));
  }
  return buffers;
}

absl::Status CheckXposBuffers(const ModelConfig& model,
                              const StateDict& buffers) {
  const at::Tensor expected = XposScale(model);
  for (const auto& [name, stored] : buffers) {
    if (stored.sizes() == expected.sizes() &&
        at::allclose(stored.to(at::kDouble), expected, /*rtol=*/0,
                     kXposTolerance)) {
      continue;
    }
    return InputError(
        absl::StrCat("tensor '", name,
                     "' is not (2i + gamma d) / ((1 + gamma) d) with gamma ",
                     model.xpos_gamma(), ", d ", model.head_dim()));
  }
  return absl::OkStatus();
}

// Drops the output of a decoder that ties it to the embedding, if it is stored.
absl::Status DropTiedOutput(StateDict* state_dict) {
  const auto output = state_dict->find("output_projection.weight");
  const auto embedding = state_dict->find("embed_tokens.weight");
  if (output == state_dict->end() || embedding == state_dict->end()) {
    return absl::OkStatus();
  }
  if (!BitEqual(output->second, embedding->second)) {
    return InputError(
        "tensor 'output_projection.weight' differs from "
        "'embed_tokens.weight', but the two are tied");
  }
  state_dict->erase(output);
  return absl::OkStatus();
}

absl::Status CheckNames(const Shapes& expected, const StateDict& tensors) {
  std::vector<std::string> missing;
  std::vector<std::string> unknown;
  for (const auto& [name, shape] : expected) {
    if (!tensors.contains(name)) missing.push_back(name);
  }
  for (const auto& [name, tensor] : tensors) {
    if (!expected.contains(name)) unknown.push_back(name);
  }
  if (missing.empty() && unknown.empty()) return absl::OkStatus();
  return InputError(
      absl::StrFormat("missing tensors: %s; unknown tensors: %s",
                      missing.empty() ? "none" : absl::StrJoin(missing, " "),
                      unknown.empty() ? "none" : absl::StrJoin(unknown, " ")));
}

// `tensor` in fp32, which holds each of the narrower types exactly.
absl::StatusOr<at::Tensor> Widened(const std::string& name,
                                   const at::Tensor& tensor,
                                   const std::vector<int64_t>& shape) {
  const at::ScalarType dtype = tensor.scalar_type();
  const bool fits =
      dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
  if (fits && tensor.sizes() == shape) return tensor.to(at::kFloat);
  return InputError(absl::StrFormat(
      "tensor '%s' is %s [%s], expected float32 (or float16, "
      "bfloat16) [%s]",
      name, c10::getDtypeNames(dtype).first,
      absl::StrJoin(tensor.sizes(), ", "), absl::StrJoin(shape, ", ")));
}

}  // namespace

absl::StatusOr<RunConfig> TorchscaleConfig(const std::string& json,
                                           const std::string& source) {
  const Json file = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("config") ||
      !file["config"].is_object()) {
    return InputError(
        absl::StrCat(source,
                     ": expected JSON of the form {\"config\": {..}, "
                     "\"training_length\": ..}"));
  }
  FieldReader reader(file);
  const int32_t training_length = reader.Count("training_length");
  for (const auto& [name, value] : file.items()) reader.Ignore(name);
  absl::Status status = reader.Finish();
  if (!status.ok()) return WithContext(status, source);
  absl::StatusOr<ModelConfig> model = ModelOf(file["config"], training_length);
  if (!model.ok()) return WithContext(model.status(), source);
  RunConfig config;
  *config.mutable_model() = *std::move(model);
  status = Resolve(&config, Purpose::kEvaluate, /*world_size=*/1);
  if (!status.ok()) return WithContext(status, source);
  return config;
}

absl::StatusOr<StateDict> TorchscaleTensors(const ModelConfig& model,
                                            StateDict state_dict) {
  const StateDict buffers = TakeXposBuffers(model, &state_dict);
  if (model.tie_word_embeddings()) {
    LEXTRA_RETURN_IF_ERROR(DropTiedOutput(&state_dict));
  }
  ModelConfig unpadded = model;
  unpadded.set_pad_vocab_to_multiple_of(1);
  const Shapes shapes = ParameterShapes(unpadded);
  LEXTRA_RETURN_IF_ERROR(CheckNames(shapes, state_dict));
  for (auto& [name, tensor] : state_dict) {
    LEXTRA_ASSIGN_OR_RETURN(tensor, Widened(name, tensor, shapes.at(name)));
  }
  LEXTRA_RETURN_IF_ERROR(CheckXposBuffers(model, buffers));
  const int64_t padding = PaddedVocab(model) - model.vocab_size();
  for (const char* name : {"embed_tokens.weight", "output_projection.weight"}) {
    const auto rows = state_dict.find(name);
    if (rows == state_dict.end()) continue;
    rows->second = at::constant_pad_nd(rows->second, {0, 0, 0, padding});
  }
  return state_dict;
}

}  // namespace lextra
