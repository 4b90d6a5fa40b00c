#include "model/transformer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "config/resolve.h"
#include "model/parameter_shapes.h"
#include "tests/model/golden_decoder.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/noting_communicator.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::BoxOf;
using testing::MakeMesh;
using testing::RelativeDifference;
using testing::Session;

ModelConfig SmallConfig() {
  ModelConfig model;
  model.set_num_layers(2);
  model.set_hidden_size(24);
  model.set_num_heads(8);
  model.set_num_kv_heads(4);
  model.set_head_dim(6);  // heads need not fill the width
  model.set_ffn_hidden_size(40);
  model.set_vocab_size(50);
  model.set_pad_vocab_to_multiple_of(32);
  model.set_training_length(16);
  model.set_init_std(0.2);
  model.set_precision(FP64);
  return model;
}

// Everything that a configuration can choose, by twos.
std::vector<ModelConfig> Configs() {
  ModelConfig plain = SmallConfig();
  ModelConfig sub_ln = SmallConfig();
  sub_ln.set_sub_ln(true);
  sub_ln.set_tie_word_embeddings(false);
  sub_ln.set_embedding_scale(3);
  ModelConfig gated = SmallConfig();
  gated.set_activation(SWIGLU);
  gated.set_norm(RMS_NORM);
  gated.set_bias(false);
  gated.set_position_encoding(ROPE);
  ModelConfig gated_sub_ln = gated;
  gated_sub_ln.set_sub_ln(true);
  gated_sub_ln.set_position_encoding(NONE);
  return {plain, sub_ln, gated, gated_sub_ln};
}

struct Step {
  double loss;
  NamedTensors gradients;  // of whole parameters, or this rank's boxes
  std::vector<ShardedTensor> shards;
};

// `tensor_axis` is wanted where tokens are split: it sums the gradients of
// replicated parameters.
Step RunStep(Transformer& model, Communicator* tensor_axis = nullptr) {
  const ModelConfig& config = model.config();
  const int64_t length = config.training_length();
  const at::Tensor tokens = (testing::Random({3, length + 1}, 7).abs() * 1e6)
                                .to(at::kLong)
                                .remainder(config.vocab_size());
  const auto positions = MakePositionEncoding(config, length / 2);
  CausalAttention attention(*positions, model.num_kv_heads());
  const at::Tensor hidden = model(tokens.narrow(1, 0, length), attention);
  const at::Tensor loss = model.cross_entropy().Loss(
      hidden.flatten(0, -2), tokens.narrow(1, 1, length).flatten(),
      1.0 / static_cast<double>(3 * length), model.activation_layout());
  loss.backward();
  for (const Parameter* parameter : model.parameters()) {
    if (model.activation_layout() == ActivationLayout::kReplicated) break;
    if (parameter->tensor_sharded) continue;
    tensor_axis->AllReduce(parameter->leaf.grad(), ReduceOp::kSum);
  }
  Step step = {.loss = loss.item<double>(), .gradients = {}, .shards = {}};
  for (const Parameter* parameter : model.parameters()) {
    for (ShardedTensor& shard : parameter->Shards(parameter->leaf.grad())) {
      step.gradients[shard.name] = shard.tensor;
      step.shards.push_back(std::move(shard));
    }
  }
  return step;
}

TEST(Transformer, RecomputationChangesNoBitOfLossAndGradients) {
  const auto mesh = MakeMesh({.tensor = Session().size()});
  for (const ModelConfig& config : Configs()) {
    for (const ActivationLayout layout :
         {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
      Transformer plain(config, mesh->tensor());
      plain.set_activation_layout(layout);
      const Step expected = RunStep(plain, &mesh->tensor());
      for (const Recomputation recomputation : {SELECTIVE, FULL}) {
        Transformer model(config, mesh->tensor());
        model.set_activation_layout(layout);
        model.set_recomputation(recomputation);
        const Step step = RunStep(model, &mesh->tensor());
        EXPECT_EQ(step.loss, expected.loss);
        for (const auto& [name, gradient] : expected.gradients) {
          EXPECT_TRUE(at::equal(step.gradients.at(name), gradient))
              << name << " " << Recomputation_Name(recomputation);
        }
      }
    }
  }
}

// Tensor degree = all ranks against one rank: fp64 1e-11 of the largest entry,
// fp32 2e-5.
TEST(Transformer, LossAndEveryGradientAreThoseOfOneRank) {
  const auto one = MakeMesh({.data = Session().size()});
  const auto all = MakeMesh({.tensor = Session().size()});
  for (ModelConfig config : Configs()) {
    for (const Precision precision : {FP32, FP64}) {
      config.set_precision(precision);
      SCOPED_TRACE(config.ShortDebugString());
      const double tolerance = testing::kShardedModel(precision);
      Transformer dense(config, one->tensor());
      const Step expected = RunStep(dense);
      for (const ActivationLayout layout :
           {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
        Transformer sharded(config, all->tensor());
        sharded.set_activation_layout(layout);
        const Step got = RunStep(sharded, &all->tensor());
        EXPECT_NEAR(got.loss, expected.loss, tolerance * expected.loss);
        EXPECT_EQ(got.shards.size(), expected.shards.size());
        for (const ShardedTensor& shard : got.shards) {
          const at::Tensor& whole = expected.gradients.at(shard.name);
          EXPECT_LE(testing::MaxDifference(shard.tensor, BoxOf(whole, shard)),
                    tolerance * whole.abs().max().item<double>())
              << shard.name;
        }
      }
    }
  }
  EXPECT_TRUE(all->Finalize().ok());
  EXPECT_TRUE(one->Finalize().ok());
}

// A layer's four all-reduces of the residual stream become as many gathers and
// reduce-scatters, which cost half. What is kept split is gathered again for
// two weights' gradients, in addition to the input's: 10 parts instead of 8.
TEST(Transformer, SplitTokensCostTwoMoreGathersALayer) {
  const auto mesh = MakeMesh({.tensor = Session().size()});
  const ModelConfig config = SmallConfig();
  // Forward and backward, without the sum of replicated gradients.
  const auto bytes_of_a_step = [&](ActivationLayout layout) {
    testing::NotingCommunicator axis(mesh->tensor());
    Transformer model(config, axis);
    model.set_activation_layout(layout);
    RunStep(model, &mesh->tensor());
    return axis.ring_bytes();
  };
  const int64_t ranks = Session().size();
  const int64_t stream_bytes = 3 * config.training_length() *
                               config.hidden_size() *
                               static_cast<int64_t>(sizeof(double));
  EXPECT_EQ(bytes_of_a_step(ActivationLayout::kSplit),
            bytes_of_a_step(ActivationLayout::kReplicated) +
                2 * config.num_layers() * stream_bytes * (ranks - 1) / ranks);
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(Transformer, InitialWeightsAreBitEqualAtEveryTensorDegree) {
  const auto one = MakeMesh({.data = Session().size()});
  const auto all = MakeMesh({.tensor = Session().size()});
  for (const ModelConfig& config : Configs()) {
    Transformer dense(config, one->tensor());
    Transformer sharded(config, all->tensor());
    std::map<std::string, at::Tensor> whole;
    for (const Parameter* parameter : dense.parameters()) {
      for (const ShardedTensor& shard : parameter->Shards(parameter->leaf)) {
        whole[shard.name] = shard.tensor;
      }
    }
    for (const Parameter* parameter : sharded.parameters()) {
      for (const ShardedTensor& shard : parameter->Shards(parameter->leaf)) {
        EXPECT_TRUE(at::equal(shard.tensor, BoxOf(whole.at(shard.name), shard)))
            << shard.name;
      }
    }
  }
  EXPECT_TRUE(all->Finalize().ok());
  EXPECT_TRUE(one->Finalize().ok());
}

// Standard deviations within 5 % of what the configuration asks for.
TEST(Transformer, InitialWeightsHaveTheirStandardDeviations) {
  const auto mesh = MakeMesh({.data = Session().size()});
  ModelConfig config = SmallConfig();
  config.set_hidden_size(96);
  config.set_ffn_hidden_size(400);
  config.set_sub_ln(true);
  Transformer model(config, mesh->tensor());
  const double residual = 0.2 / std::sqrt(4.0);
  const double sub_ln = std::sqrt(std::log(4.0));
  const std::map<std::string, double> expected = {
      {"embed_tokens.weight", 0.2},
      {"layers.1.self_attn.q_proj.weight", 0.2},
      {"layers.1.self_attn.v_proj.weight", 0.2 * sub_ln},
      {"layers.1.self_attn.out_proj.weight", residual * sub_ln},
      {"layers.0.ffn.fc1.weight", 0.2 * sub_ln},
      {"layers.0.ffn.fc2.weight", residual * sub_ln}};
  std::map<std::string, at::Tensor> weights;
  for (const Parameter* parameter : model.parameters()) {
    for (const ShardedTensor& shard : parameter->Shards(parameter->leaf)) {
      weights[shard.name] = shard.tensor;
    }
  }
  for (const auto& [name, deviation] : expected) {
    EXPECT_NEAR(weights.at(name).std().item<double>(), deviation,
                0.05 * deviation)
        << name;
  }
  EXPECT_TRUE((weights.at("layer_norm.weight") == 1).all().item<bool>());
  EXPECT_TRUE((weights.at("layers.0.ffn.fc1.bias") == 0).all().item<bool>());
  EXPECT_FALSE(at::equal(weights.at("layers.0.self_attn.q_proj.weight"),
                         weights.at("layers.1.self_attn.q_proj.weight")));
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(Transformer, PaddedRowsOfTheVocabularyGetNoGradient) {
  const auto mesh = MakeMesh({.data = Session().size()});
  for (const bool tied : {false, true}) {
    ModelConfig config = SmallConfig();
    config.set_tie_word_embeddings(tied);
    Transformer model(config, mesh->tensor());
    const Step step = RunStep(model);
    const auto expect_zero = [&](const std::string& name) {
      const at::Tensor padding = step.gradients.at(name).narrow(0, 50, 14);
      EXPECT_TRUE((padding == 0).all().item<bool>()) << name;
    };
    expect_zero("embed_tokens.weight");
    if (!tied) expect_zero("output_projection.weight");
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(Transformer, RefusesAConfigurationThatIsNotResolved) {
  const auto mesh = MakeMesh({.data = Session().size()});
  ModelConfig config = SmallConfig();
  config.clear_num_kv_heads();
  EXPECT_THROW(Transformer(config, mesh->tensor()), c10::Error);
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(ParameterShapes, AreThoseOfTheTransformer) {
  const auto mesh = MakeMesh({.data = Session().size()});
  std::vector<ModelConfig> configs = Configs();
  configs.push_back(configs[0]);
  configs.back().set_position_encoding(LEARNED);
  for (const ModelConfig& config : configs) {
    Transformer model(config, mesh->tensor());
    int64_t count = 0;
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const Parameter* parameter : model.parameters()) {
      count += parameter->leaf.numel();
      for (const Parameter::Piece& piece : parameter->pieces) {
        shapes[piece.name] = piece.global_shape;
      }
    }
    EXPECT_EQ(ParameterShapes(config), shapes) << config.ShortDebugString();
    EXPECT_EQ(NumParameters(config), count) << config.ShortDebugString();
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

// A gradient of the whole model against central differences: fp64, relative
// 1e-6.
TEST(Transformer, GradientsMatchCentralDifferences) {
  const auto mesh = MakeMesh({.data = Session().size()});
  for (const ModelConfig& config : Configs()) {
    SCOPED_TRACE(config.ShortDebugString());
    Transformer model(config, mesh->tensor());
    const Step step = RunStep(model);
    constexpr double kStep = 1e-5;
    double slope = 0;
    std::vector<at::Tensor> directions;
    for (const Parameter* parameter : model.parameters()) {
      directions.push_back(
          testing::Random(parameter->leaf.sizes(), directions.size()));
      slope +=
          (directions.back() * parameter->leaf.grad()).sum().item<double>();
    }
    const auto loss_at = [&](double distance) {
      const std::vector<Parameter*> parameters = model.parameters();
      for (size_t i = 0; i < parameters.size(); ++i) {
        parameters[i]->leaf.detach().add_(directions[i], distance);
      }
      return RunStep(model).loss;
    };
    const double ahead = loss_at(kStep);
    const double behind = loss_at(-2 * kStep);
    EXPECT_NEAR((ahead - behind) / (2 * kStep), slope, 1e-6 * std::abs(slope));
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(Transformer, StartsFromTheSameWeightsAtEveryPrecision) {
  const std::unique_ptr<DeviceMesh> mesh =
      MakeMesh({.data = 1, .tensor = Session().size()});
  ModelConfig config = SmallConfig();
  config.set_precision(FP32);
  Transformer single(config, mesh->tensor());
  for (const Precision precision : {FP64, BF16}) {
    config.set_precision(precision);
    Transformer other(config, mesh->tensor());
    for (size_t i = 0; i < single.parameters().size(); ++i) {
      const at::Tensor& leaf = other.parameters()[i]->leaf;
      EXPECT_EQ(leaf.scalar_type(),
                precision == FP64 ? at::kDouble : at::kFloat);
      EXPECT_TRUE(at::equal(leaf.to(at::kDouble),
                            single.parameters()[i]->leaf.to(at::kDouble)))
          << single.parameters()[i]->pieces[0].name;
    }
  }
}

}  // namespace
}  // namespace lextra
