#include "trainer/memory_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "checkpoint/checkpoint_saver.h"
#include "config/resolve.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/temporary_folder.h"
#include "trainer/profile/step_recorder.h"
#include "trainer/train_step.h"

namespace lextra {
namespace {

RunConfig Config(Recomputation recompute, int micro_batch_size,
                 Activation activation, bool sub_ln) {
  RunConfig config;
  ModelConfig* model = config.mutable_model();
  model->set_num_layers(4);
  model->set_hidden_size(96);
  model->set_num_heads(3);
  model->set_training_length(64);
  model->set_vocab_size(256);
  model->set_activation(activation);
  model->set_sub_ln(sub_ln);
  config.mutable_data()->set_global_batch_size(16);
  config.mutable_data()->set_micro_batch_size(micro_batch_size);
  config.mutable_data()->set_train("random tokens");
  config.mutable_parallel()->set_recompute(recompute);
  EXPECT_TRUE(Resolve(&config, Purpose::kTrain, 1).ok());
  return config;
}

constexpr int64_t kCheckpointBytes = 12345;

// The most that tensors take at once, of three steps.
int64_t PeakBytesOf(TrainStep& step, int64_t vocab_size) {
  StepProfile profile;
  for (int i = 0; i < 3; ++i) {
    const StepRecorder recorded(profile);
    step.Run(at::randint(vocab_size, {16, 65}, at::kLong), 1e-3);
  }
  return profile.peak_bytes();
}

// What the plan says against what tensors take in a step: within a tenth, since
// statistics and work buffers are not planned.
TEST(MemoryPlan, IsWhatAStepTakes) {
  const std::unique_ptr<DeviceMesh> mesh = testing::MakeMesh({});
  for (const Recomputation recompute : {OFF, SELECTIVE, FULL}) {
    for (const int micro_batch_size : {0, 8}) {
      for (const bool is_large : {false, true}) {
        const RunConfig config = Config(recompute, micro_batch_size,
                                        is_large ? SWIGLU : GELU, is_large);
        SCOPED_TRACE(Recomputation_Name(recompute) + ", micro batch " +
                     std::to_string(micro_batch_size) + ", " +
                     Activation_Name(config.model().activation()));
        Transformer model(config.model(), mesh->tensor());
        TrainStep step(config, *mesh, model);
        const auto peak = static_cast<double>(PeakBytesOf(step, 256));
        const MemoryPlan plan = PlanMemory(config, step.parameters(),
                                           step.optimizer(), kCheckpointBytes);
        const auto planned =
            static_cast<double>(plan.activations + plan.loss_head);
        EXPECT_NEAR(peak, planned, 0.1 * planned);
        const int64_t bytes = 4 * step.parameters().values().numel();
        EXPECT_EQ(plan.parameters, bytes);
        EXPECT_EQ(plan.gradients, bytes);
        EXPECT_EQ(plan.optimizer, 2 * bytes);
      }
    }
  }
}

TEST(MemoryPlan, CountsTheLossOverALargeVocabulary) {
  const std::unique_ptr<DeviceMesh> mesh = testing::MakeMesh({});
  constexpr int kVocabulary = 32768;
  for (const auto& [precision, micro_batch_size] :
       {std::pair(FP32, 0), std::pair(BF16, 4)}) {
    SCOPED_TRACE(Precision_Name(precision));
    RunConfig config = Config(OFF, micro_batch_size, GELU, false);
    config.mutable_model()->set_vocab_size(kVocabulary);
    config.mutable_model()->set_precision(precision);
    Transformer model(config.model(), mesh->tensor());
    TrainStep step(config, *mesh, model);
    const auto peak = static_cast<double>(PeakBytesOf(step, kVocabulary));
    const MemoryPlan plan = PlanMemory(config, step.parameters(),
                                       step.optimizer(), kCheckpointBytes);
    const auto planned = static_cast<double>(plan.activations + plan.loss_head);
    EXPECT_NEAR(peak, planned, 0.1 * planned);
    EXPECT_GT(plan.loss_head, 2 * plan.activations);
  }
}

TEST(MemoryPlan, HoldsTheCopyOfACheckpointWhereTheHostTrains) {
  const std::unique_ptr<DeviceMesh> mesh = testing::MakeMesh({});
  RunConfig config = Config(OFF, 0, GELU, false);
  Transformer model(config.model(), mesh->tensor());
  TrainStep step(config, *mesh, model);
  const testing::TemporaryFolder folder;
  const CheckpointSaver saver(
      mesh->world(),
      {.run_folder = folder.path(), .origin = {}, .retention = {}},
      step.State());
  // Parameters and both moments.
  EXPECT_EQ(saver.num_bytes(), 3 * 4 * step.parameters().values().numel());
  const auto total = [&](int64_t checkpoint_bytes) {
    return PlanMemory(config, step.parameters(), step.optimizer(),
                      checkpoint_bytes)
        .total();
  };
  EXPECT_EQ(total(saver.num_bytes()) - total(0), saver.num_bytes());
  config.mutable_parallel()->set_device(CUDA);
  EXPECT_EQ(total(saver.num_bytes()), total(0));
}

}  // namespace
}  // namespace lextra
