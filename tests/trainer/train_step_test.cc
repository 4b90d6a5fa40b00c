// Training steps against PyTorch's, and of every layout against one rank's.
#include "trainer/train_step.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/io/files.h"
#include "config/load.h"
#include "config/position_methods.h"
#include "config/resolve.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/tolerances.h"
#include "tests/testing/weights.h"
#include "trainer/optimizer/gradient_norm.h"
#include "trainer/optimizer/lr_schedule.h"

namespace lextra {
namespace {

using testing::MakeMesh;
using testing::MaxDifference;
using testing::RelativeDifference;
using testing::Session;

// All data x tensor layouts of this test's ranks.
std::vector<MeshShape> Layouts(int max_tensor) {
  std::vector<MeshShape> layouts;
  for (int tensor = 1; tensor <= max_tensor; ++tensor) {
    if (Session().size() % tensor != 0) continue;
    layouts.push_back({.data = Session().size() / tensor, .tensor = tensor});
  }
  return layouts;
}

std::unique_ptr<DeviceMesh> MeshOfThisRankAlone() {
  return DeviceMesh::Create(
             Session().World()->Split(Session().rank(), 0, "world"), {})
      .value();
}

// The named tensors of `like(leaf)`, shaped as the leaves: values or gradients.
template <typename Like>
std::vector<ShardedTensor> Shards(Transformer& model, Like like) {
  std::vector<ShardedTensor> shards;
  for (Parameter* parameter : model.parameters()) {
    for (ShardedTensor& shard : parameter->Shards(like(parameter->leaf))) {
      shards.push_back(std::move(shard));
    }
  }
  return shards;
}

std::vector<ShardedTensor> Values(Transformer& model) {
  return Shards(model, [](const at::Tensor& leaf) { return leaf.detach(); });
}

std::vector<ShardedTensor> Gradients(Transformer& model) {
  return Shards(model, [](const at::Tensor& leaf) { return leaf.grad(); });
}

// The tensors of `all` whose names begin with `prefix`, without it.
NamedTensors WithPrefix(const NamedTensors& all, const std::string& prefix) {
  NamedTensors chosen;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) chosen[name.substr(prefix.size())] = tensor;
  }
  return chosen;
}

RunConfig ParityConfig(Precision precision, MeshShape layout) {
  const std::string path = testing::GoldenPath("training_parity.textproto");
  RunConfig config = LoadRunConfig(path, {}).value();
  config.mutable_model()->set_precision(precision);
  config.mutable_parallel()->set_data(layout.data);
  config.mutable_parallel()->set_tensor(layout.tensor);
  const absl::Status resolved =
      Resolve(&config, Purpose::kTrain, layout.data * layout.tensor);
  EXPECT_TRUE(resolved.ok()) << resolved;
  return config;
}

at::Tensor RankRows(const at::Tensor& batch, DeviceMesh& mesh) {
  const int64_t rows = batch.size(0) / mesh.data().size();
  return batch.narrow(0, rows * mesh.data().rank(), rows);
}

// 20 steps from given weights, data and settings; losses within 1e-5 relative
// in fp32 and 1e-9 in fp64 (both sides round the initial weights to fp32).
TEST(TrainStep, TwentyStepsEqualPyTorch) {
  const NamedTensors golden = testing::Golden("training_parity");
  struct Case {
    Precision precision;
    std::string name;
  };
  for (const Case& c : {Case{FP32, "fp32"}, Case{FP64, "fp64"}}) {
    for (const MeshShape layout : Layouts(/*max_tensor=*/2)) {
      SCOPED_TRACE(absl::StrFormat("%s data %d tensor %d", c.name, layout.data,
                                   layout.tensor));
      const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
      const RunConfig config = ParityConfig(c.precision, layout);
      Transformer model(config.model(), mesh->tensor());
      testing::LoadWeights(WithPrefix(golden, "initial."), model);
      TrainStep step(config, *mesh, model);
      const at::Tensor& tokens = golden.at("tokens");
      std::vector<double> losses;
      std::vector<double> norms;
      for (int64_t i = 0; i < config.schedule().num_steps(); ++i) {
        const StepResult result = step.Run(RankRows(tokens[i], *mesh),
                                           LearningRate(config.schedule(), i));
        ASSERT_FALSE(result.skipped);
        losses.push_back(result.loss);
        norms.push_back(result.gradient_norm);
      }
      const at::Tensor& golden_losses = golden.at(c.name + ".losses");
      const at::Tensor& golden_norms = golden.at(c.name + ".gradient_norms");
      EXPECT_LT(
          RelativeDifference(at::tensor(losses, at::kDouble), golden_losses),
          testing::kParityLoss(c.precision));
      EXPECT_LT(
          RelativeDifference(at::tensor(norms, at::kDouble), golden_norms),
          10 * testing::kParityLoss(c.precision));
      const NamedTensors final_weights = WithPrefix(golden, c.name + ".final.");
      for (const ShardedTensor& shard : Values(model)) {
        EXPECT_LT(
            MaxDifference(shard.tensor,
                          testing::BoxOf(final_weights.at(shard.name), shard)),
            testing::kParityWeights(c.precision))
            << shard.name;
      }
    }
  }
}

// How a run of this test's ranks differs from one rank's.
struct Variant {
  MeshShape layout;
  bool accumulate = false;
  bool sequence_parallel = false;
  int zero_stage = 0;
  Recomputation recompute = OFF;
  PositionMethod position = XPOS;
};

// The variant's settings, in `config`, which is one rank's.
RunConfig ConfigOf(const Variant& variant, RunConfig config) {
  if (variant.accumulate) config.mutable_data()->set_micro_batch_size(1);
  ParallelConfig& parallel = *config.mutable_parallel();
  parallel.set_sequence_parallel(variant.sequence_parallel);
  parallel.set_zero_stage(variant.zero_stage);
  parallel.set_recompute(variant.recompute);
  return config;
}

void ExpectSameValues(Transformer& model, Transformer& whole_model,
                      double tolerance) {
  NamedTensors wholes;
  for (const ShardedTensor& shard : Values(whole_model)) {
    wholes[shard.name] = shard.tensor;
  }
  for (const ShardedTensor& shard : Values(model)) {
    EXPECT_LT(MaxDifference(shard.tensor,
                            testing::BoxOf(wholes.at(shard.name), shard)),
              tolerance)
        << shard.name;
  }
}

// Runs ten steps of `variant` and ten steps of this rank alone, and compares
// losses, norms and every gradient, each gradient relative to its largest
// element, and the values.
void ExpectTenStepsEqualOneRank(const Variant& variant, Precision precision) {
  SCOPED_TRACE(absl::StrFormat(
      "data %d tensor %d %s accumulate %d regions %d zero %d recompute %s %s",
      variant.layout.data, variant.layout.tensor, Precision_Name(precision),
      variant.accumulate, variant.sequence_parallel, variant.zero_stage,
      Recomputation_Name(variant.recompute),
      PositionMethod_Name(variant.position)));
  RunConfig config = ParityConfig(precision, {});
  config.mutable_model()->set_num_kv_heads(4);
  config.mutable_model()->set_sub_ln(true);
  config.mutable_model()->set_activation(SWIGLU);
  config.mutable_model()->set_norm(RMS_NORM);
  config.mutable_model()->set_position_encoding(variant.position);
  // Where keys are not rotated a bias of theirs changes no softmax: its
  // gradient is rounding alone, which AdamW makes as large as any other.
  config.mutable_model()->set_bias(FactsOf(variant.position).rotates);
  config.mutable_parallel()->set_bucket_bytes(4096);
  const std::unique_ptr<DeviceMesh> alone = MeshOfThisRankAlone();
  Transformer reference(config.model(), alone->tensor());
  TrainStep reference_step(config, *alone, reference);

  const RunConfig split = ConfigOf(variant, config);
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(variant.layout);
  Transformer model(split.model(), mesh->tensor());
  TrainStep step(split, *mesh, model);

  const NamedTensors golden = testing::Golden("training_parity");
  for (int64_t i = 0; i < 10; ++i) {
    const at::Tensor batch = golden.at("tokens")[i];
    const double rate = LearningRate(config.schedule(), i);
    const StepResult expected = reference_step.Run(batch, rate);
    const StepResult result = step.Run(RankRows(batch, *mesh), rate);
    ASSERT_NEAR(result.loss / expected.loss, 1,
                testing::kTenStepsLoss(precision))
        << "step " << i;
    ASSERT_NEAR(result.gradient_norm / expected.gradient_norm, 1,
                testing::kTenStepsGradient(precision));
    NamedTensors wholes;
    for (const ShardedTensor& shard : Gradients(reference)) {
      wholes[shard.name] = shard.tensor;
    }
    for (const ShardedTensor& shard : Gradients(model)) {
      // ZeRO leaves the sums with their owners alone.
      if (variant.zero_stage == 1) break;
      const at::Tensor& whole = wholes.at(shard.name);
      EXPECT_LT(MaxDifference(shard.tensor, testing::BoxOf(whole, shard)),
                testing::kTenStepsGradient(precision) *
                    whole.abs().max().item<double>())
          << shard.name << " step " << i;
    }
    ExpectSameValues(model, reference, testing::kTenStepsWeights(precision));
  }
}

// fp64 shows that the layouts compute the same: rounding alone is left. The
// band of fp32 is wider than one step's rounding, because AdamW turns a tiny
// gradient's rounding into a change of the weight, and that grows over ten
// steps.
TEST(TrainStep, TenStepsOfEveryLayoutEqualOneRank) {
  for (const MeshShape layout : Layouts(/*max_tensor=*/4)) {
    for (const bool accumulate : {false, true}) {
      const Variant variant = {.layout = layout, .accumulate = accumulate};
      ExpectTenStepsEqualOneRank(variant, FP64);
      ExpectTenStepsEqualOneRank(variant, FP32);
    }
  }
}

TEST(TrainStep, TenStepsWithSequenceRegionsEqualOneRank) {
  for (const MeshShape layout : Layouts(/*max_tensor=*/4)) {
    for (const int zero_stage : {0, 1}) {
      for (const Recomputation recompute : {OFF, SELECTIVE, FULL}) {
        const Variant variant = {.layout = layout,
                                 .accumulate = recompute == OFF,
                                 .sequence_parallel = true,
                                 .zero_stage = zero_stage,
                                 .recompute = recompute};
        ExpectTenStepsEqualOneRank(variant, FP64);
        // Recomputation changes no bit, so fp32's rounding is seen once.
        if (recompute != OFF) continue;
        ExpectTenStepsEqualOneRank(variant, FP32);
      }
    }
  }
}

TEST(TrainStep, TenStepsOfEveryPositionMethodEqualOneRank) {
  for (const MeshShape layout : Layouts(/*max_tensor=*/4)) {
    for (const PositionMethod position :
         {ROPE, NONE, ALIBI, SINUSOIDAL, LEARNED}) {
      for (const bool regions : {false, true}) {
        const Variant variant = {.layout = layout,
                                 .sequence_parallel = regions,
                                 .zero_stage = regions ? 1 : 0,
                                 .recompute = regions ? FULL : OFF,
                                 .position = position};
        ExpectTenStepsEqualOneRank(variant, FP64);
      }
    }
  }
}

// Losses and weights after five steps of the parity model.
std::pair<std::vector<double>, at::Tensor> FiveSteps(DeviceMesh& mesh,
                                                     MeshShape layout) {
  const NamedTensors golden = testing::Golden("training_parity");
  const RunConfig config = ParityConfig(FP32, layout);
  Transformer model(config.model(), mesh.tensor());
  testing::LoadWeights(WithPrefix(golden, "initial."), model);
  TrainStep step(config, mesh, model);
  std::vector<double> losses;
  for (int64_t i = 0; i < 5; ++i) {
    losses.push_back(
        step.Run(RankRows(golden.at("tokens")[i], mesh), 1e-3).loss);
  }
  return {losses, step.parameters().values().clone()};
}

// At the same ranks and threads: one, or two where this rank is alone (more
// threads than cores take minutes).
TEST(TrainStep, RunsRepeatToTheLastBit) {
  const int threads_before = at::get_num_threads();
  for (const MeshShape layout : Layouts(/*max_tensor=*/2)) {
    const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
    for (int threads = 1; threads <= (Session().size() == 1 ? 2 : 1);
         ++threads) {
      at::set_num_threads(threads);
      const auto [losses, weights] = FiveSteps(*mesh, layout);
      for (int again = 0; again < 3; ++again) {
        const auto [same_losses, same_weights] = FiveSteps(*mesh, layout);
        EXPECT_EQ(losses, same_losses) << threads << " threads";
        EXPECT_TRUE(at::equal(weights, same_weights)) << threads << " threads";
      }
    }
  }
  at::set_num_threads(threads_before);
}

// The clip divides in the dtype of the gradients, which a step leaves divided.
TEST(TrainStep, TheClippedGradientIsAsLongAsTheBound) {
  const NamedTensors golden = testing::Golden("training_parity");
  for (const auto& [precision, tolerance] :
       {std::pair(FP32, 1e-6), std::pair(FP64, 1e-14)}) {
    for (const MeshShape layout : Layouts(/*max_tensor=*/2)) {
      const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
      RunConfig config = ParityConfig(precision, layout);
      config.mutable_optimizer()->set_max_grad_norm(0.3);
      Transformer model(config.model(), mesh->tensor());
      TrainStep step(config, *mesh, model);
      const StepResult result =
          step.Run(RankRows(golden.at("tokens")[0], *mesh), 1e-3);
      ASSERT_GT(result.gradient_norm, 0.3);
      const double clipped =
          GlobalGradientNorm(step.parameters(), mesh->data(), mesh->tensor())
              .item<double>();
      EXPECT_NEAR(clipped / 0.3, 1, tolerance) << Precision_Name(precision);
    }
  }
}

TEST(TrainStep, ANonFiniteStepIsSkippedByAllRanksAndChangesNothing) {
  const NamedTensors golden = testing::Golden("training_parity");
  const MeshShape layout = Layouts(2).back();
  const std::unique_ptr<DeviceMesh> mesh = MakeMesh(layout);
  const RunConfig config = ParityConfig(FP32, layout);
  Transformer model(config.model(), mesh->tensor());
  TrainStep step(config, *mesh, model);
  const at::Tensor tokens = RankRows(golden.at("tokens")[0], *mesh);
  ASSERT_FALSE(step.Run(tokens, 1e-3).skipped);

  // One rank's final norm gets a NaN: the loss is NaN there, and every rank
  // must hear of it.
  Parameter* last = model.parameters().back();
  at::Tensor saved = last->leaf.detach().clone();
  if (Session().rank() == 0) {
    const at::NoGradGuard no_grad;
    last->leaf.view({-1})[0] = std::numeric_limits<float>::quiet_NaN();
  }
  std::vector<at::Tensor> before;
  for (const ShardedTensor& shard : step.State()) {
    before.push_back(shard.tensor.clone());
  }
  const StepResult result = step.Run(tokens, 1e-3);
  EXPECT_TRUE(result.skipped);
  const std::vector<ShardedTensor> after = step.State();
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_TRUE(at::allclose(before[i], after[i].tensor, 0, 0, true))
        << after[i].name;
  }
  EXPECT_EQ(step.optimizer().num_updates(), 1);

  {
    const at::NoGradGuard no_grad;
    last->leaf.copy_(saved);
  }
  EXPECT_FALSE(step.Run(tokens, 1e-3).skipped);
}

}  // namespace
}  // namespace lextra
