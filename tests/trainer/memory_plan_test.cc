#include "trainer/memory_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "config/resolve.h"
#include "tests/testing/mpi_world.h"
#include "trainer/recorded_step.h"
#include "trainer/train_step.h"

namespace lextra {
namespace {

RunConfig Config(Recomputation recompute, int micro_batch,
                 Activation activation, bool sub_ln) {
  RunConfig config;
  ModelConfig* model = config.mutable_model();
  model->set_num_layers(4);
  model->set_width(96);
  model->set_num_heads(3);
  model->set_training_length(64);
  model->set_vocab_size(256);
  model->set_activation(activation);
  model->set_sub_ln(sub_ln);
  config.mutable_data()->set_global_batch(16);
  config.mutable_data()->set_micro_batch(micro_batch);
  config.mutable_data()->set_train("random tokens");
  config.mutable_parallel()->set_recompute(recompute);
  EXPECT_TRUE(Resolve(&config, Purpose::kTrain, 1).ok());
  return config;
}

// What the plan says against what tensors take in a step: within a tenth, since
// statistics, chunks of logits and work buffers are not planned.
TEST(MemoryPlan, IsWhatAStepTakes) {
  const std::unique_ptr<DeviceMesh> mesh = testing::MakeMesh({});
  for (const Recomputation recompute : {OFF, SELECTIVE, FULL}) {
    for (const int micro_batch : {0, 8}) {
      for (const bool is_large : {false, true}) {
        const RunConfig config =
            Config(recompute, micro_batch, is_large ? SWIGLU : GELU, is_large);
        SCOPED_TRACE(Recomputation_Name(recompute) + ", micro batch " +
                     std::to_string(micro_batch) + ", " +
                     Activation_Name(config.model().activation()));
        Transformer model(config.model(), mesh->tensor());
        TrainStep step(config, *mesh, model);
        StepProfile profile;
        for (int i = 0; i < 3; ++i) {
          const RecordedStep recorded(profile);
          step.Run(at::randint(256, {16, 65}, at::kLong), 1e-3);
        }
        const MemoryPlan plan = PlanMemory(config, step.parameters());
        EXPECT_NEAR(static_cast<double>(profile.peak_bytes()),
                    static_cast<double>(plan.activations),
                    0.1 * static_cast<double>(plan.activations));
        const int64_t bytes = 4 * step.parameters().values().numel();
        EXPECT_EQ(plan.parameters, bytes);
        EXPECT_EQ(plan.gradients, bytes);
        EXPECT_EQ(plan.optimizer, 2 * bytes);
      }
    }
  }
}

}  // namespace
}  // namespace lextra
