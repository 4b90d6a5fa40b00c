#include "model/torchscale_adapter.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/testing/golden.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using testing::Golden;
using testing::GoldenPath;
using ::testing::HasSubstr;

std::string GoldenJson(const std::string& name) {
  std::ifstream file(GoldenPath(name + ".json"));
  return {std::istreambuf_iterator<char>(file), {}};
}

RunConfig GoldenConfig(const std::string& name) {
  absl::StatusOr<RunConfig> config = TorchscaleConfig(GoldenJson(name), name);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : RunConfig();
}

TEST(TorchscaleAdapter, MapsEveryFieldOfTheDecoder) {
  const ModelConfig preln = GoldenConfig("decoder_preln").model();
  EXPECT_EQ(preln.num_layers(), 2);
  EXPECT_EQ(preln.hidden_size(), 32);
  EXPECT_EQ(preln.num_heads(), 4);
  EXPECT_EQ(preln.head_dim(), 8);
  EXPECT_EQ(preln.ffn_hidden_size(), 64);
  EXPECT_EQ(preln.vocab_size(), 97);
  EXPECT_EQ(preln.training_length(), 32);
  EXPECT_EQ(preln.norm_epsilon(), 1e-5);
  EXPECT_EQ(preln.position_encoding(), XPOS);
  EXPECT_EQ(preln.xpos_scale_base(), 512);
  EXPECT_EQ(preln.embedding_scale(), 1.0);
  EXPECT_FALSE(preln.sub_ln());
  EXPECT_FALSE(preln.tie_word_embeddings());
  EXPECT_TRUE(preln.bias());
  const ModelConfig subln = GoldenConfig("decoder_subln").model();
  EXPECT_TRUE(subln.sub_ln());
  EXPECT_TRUE(subln.tie_word_embeddings());
  EXPECT_EQ(subln.embedding_scale(), std::sqrt(48.0));
}

// The error of the pre-norm decoder's JSON with `from` replaced by `to`.
std::string ConfigErrorWith(const std::string& from, const std::string& to) {
  std::string json = GoldenJson("decoder_preln");
  json.replace(json.find(from), from.size(), to);
  const absl::Status status = TorchscaleConfig(json, "decoder.json").status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("decoder.json"));
  return std::string(status.message());
}

TEST(TorchscaleAdapter, RefusesFieldsThatChangeTheForwardPass) {
  EXPECT_THAT(ConfigErrorWith("\"gelu\"", "\"relu\""),
              AllOf(HasSubstr("'activation_fn' is \"relu\""),
                    HasSubstr("expected \"gelu\"")));
  EXPECT_THAT(ConfigErrorWith("\"dropout\": 0.0", "\"deepnorm\": true"),
              HasSubstr("'deepnorm' is true, expected false"));
  EXPECT_THAT(ConfigErrorWith("\"dropout\": 0.0", "\"window\": 3"),
              HasSubstr("'window' is 3, expected no field of this name"));
  EXPECT_THAT(ConfigErrorWith("\"vocab_size\": 97", "\"dropout\": 0.0"),
              HasSubstr("'vocab_size' is null, expected a whole number"));
  EXPECT_THAT(
      ConfigErrorWith("\"decoder_layers\": 2", "\"decoder_layers\": 0"),
      HasSubstr(
          "'decoder_layers' is 0, expected a whole number of at least 1"));
  EXPECT_THAT(ConfigErrorWith("\"decoder_attention_heads\": 4",
                              "\"decoder_attention_heads\": 5"),
              HasSubstr("model.num_heads"));
  EXPECT_THAT(ConfigErrorWith("\"training_length\"", "\"length_of_training\""),
              HasSubstr("'training_length' is null"));
  EXPECT_THAT(ConfigErrorWith("{", "["),
              HasSubstr("expected JSON of the form"));
}

TEST(TorchscaleAdapter, PadsTheVocabularyWithZeroRows) {
  const RunConfig config = GoldenConfig("decoder_preln");
  const StateDict state_dict = Golden("decoder_preln_weights");
  const absl::StatusOr<StateDict> tensors =
      TorchscaleTensors(config.model(), state_dict);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  for (const char* name : {"embed_tokens.weight", "output_projection.weight"}) {
    const at::Tensor& rows = tensors->at(name);
    ASSERT_EQ(rows.size(0), 128) << name;
    EXPECT_TRUE(at::equal(rows.narrow(0, 0, 97), state_dict.at(name)));
    EXPECT_EQ(rows.narrow(0, 97, 31).count_nonzero().item<int64_t>(), 0);
  }
}

TEST(TorchscaleAdapter, ListsMissingAndUnknownTensors) {
  const RunConfig config = GoldenConfig("decoder_preln");
  StateDict state_dict = Golden("decoder_preln_weights");
  state_dict.erase("layers.1.ffn.fc2.bias");
  state_dict.erase("layer_norm.weight");
  state_dict["embed_positions.weight"] = at::zeros({4, 32});
  EXPECT_THAT(
      std::string(
          TorchscaleTensors(config.model(), state_dict).status().message()),
      HasSubstr("missing tensors: layer_norm.weight layers.1.ffn.fc2.bias; "
                "unknown tensors: embed_positions.weight"));
}

// The error of a decoder's tensors with one of them replaced.
std::string TensorErrorWith(const std::string& decoder, const std::string& name,
                            const at::Tensor& tensor) {
  StateDict state_dict = Golden(decoder + "_weights");
  state_dict[name] = tensor;
  return std::string(
      TorchscaleTensors(GoldenConfig(decoder).model(), std::move(state_dict))
          .status()
          .message());
}

TEST(TorchscaleAdapter, RefusesTensorsThatOurModelWouldNotReproduce) {
  EXPECT_THAT(TensorErrorWith("decoder_preln", "layers.1.self_attn.xpos.scale",
                              at::full(4, 0.5)),
              HasSubstr("'layers.1.self_attn.xpos.scale'"));
  EXPECT_THAT(TensorErrorWith("decoder_preln", "layers.1.self_attn.xpos.scale",
                              at::full(5, 0.5)),
              HasSubstr("'layers.1.self_attn.xpos.scale'"));
  EXPECT_THAT(TensorErrorWith("decoder_subln", "output_projection.weight",
                              at::zeros({97, 48})),
              HasSubstr("the two are tied"));
  EXPECT_THAT(TensorErrorWith("decoder_subln", "output_projection.weight",
                              at::zeros({97, 48}, at::kHalf)),
              HasSubstr("the two are tied"));
  EXPECT_THAT(
      TensorErrorWith("decoder_preln", "layer_norm.bias", at::zeros(33)),
      HasSubstr("'layer_norm.bias' is float32 [33], expected float32"));
  EXPECT_THAT(TensorErrorWith("decoder_preln", "layer_norm.bias",
                              at::zeros(32, at::kDouble)),
              HasSubstr("'layer_norm.bias' is float64 [32]"));
}

}  // namespace
}  // namespace lextra
