// ZeRO stage 1 against plain data parallelism, on the same ranks.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_saver.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/load_tensors.h"
#include "config/resolve.h"
#include "parallel/agreement.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/temporary_folder.h"
#include "tests/testing/tolerances.h"
#include "trainer/train_step.h"

namespace lextra {
namespace {

using testing::MakeMesh;
using testing::Session;

constexpr int64_t kBatch = 12;  // divides among 1, 2, 3 and 4 ranks
constexpr int64_t kLength = 8;

std::vector<MeshShape> Layouts() {
  const int size = Session().size();
  std::vector<MeshShape> layouts = {{.data = size}};
  if (size % 2 == 0) layouts.push_back({.data = size / 2, .tensor = 2});
  return layouts;
}

RunConfig Config(MeshShape layout, Precision precision, int zero_stage) {
  RunConfig config;
  ModelConfig& model = *config.mutable_model();
  model.set_num_layers(2);
  model.set_hidden_size(20);
  model.set_num_heads(2);
  model.set_vocab_size(50);
  model.set_pad_vocab_to_multiple_of(10);
  model.set_training_length(kLength);
  model.set_sub_ln(true);
  model.set_init_std(0.2);
  model.set_precision(precision);
  config.mutable_data()->set_train("unused");
  config.mutable_data()->set_global_batch_size(kBatch);
  config.mutable_optimizer()->set_max_grad_norm(0.5);  // clips
  config.mutable_parallel()->set_data(layout.data);
  config.mutable_parallel()->set_tensor(layout.tensor);
  config.mutable_parallel()->set_zero_stage(zero_stage);
  // Buckets that begin and end inside tensors and inside their rows.
  config.mutable_parallel()->set_bucket_bytes(1000);
  const absl::Status resolved =
      Resolve(&config, Purpose::kTrain, layout.data * layout.tensor);
  EXPECT_TRUE(resolved.ok()) << resolved;
  return config;
}

class Training {
 public:
  Training(MeshShape layout, const RunConfig& config)
      : config_(config),
        mesh_(MakeMesh(layout)),
        model_(config_.model(), mesh_->tensor()),
        step_(config_, *mesh_, model_) {}

  StepResult Run(int index) {
    at::manual_seed(100 + index);
    const at::Tensor tokens = at::randint(50, {kBatch, kLength + 1}, at::kLong);
    const int64_t rows = kBatch / mesh_->data().size();
    return step_.Run(tokens.narrow(0, rows * mesh_->data().rank(), rows), 1e-2);
  }
  TrainStep& step() { return step_; }
  const at::Tensor& values() { return step_.parameters().values(); }

 private:
  RunConfig config_;
  std::unique_ptr<DeviceMesh> mesh_;
  Transformer model_;
  TrainStep step_;
};

// Sums over the ranks are taken in another order, so the bits may differ: fp64
// within 1e-12 of loss and norm, 1e-10 of a weight; fp32 within 1e-5 and 1e-4
// (AdamW turns the rounding of a tiny gradient into a change of the weight);
// BF16 within 1e-3 of the loss, because a master that lies between two bfloat16
// numbers may be rounded to the other one.
double LossTolerance(Precision precision) {
  return testing::kZeroStepsLoss(precision);
}

TEST(ZeroStage1, EqualsPlainDataParallelism) {
  for (const MeshShape layout : Layouts()) {
    // Overlap, and sequence regions.
    for (const auto& [overlap, regions] : std::vector<std::pair<bool, bool>>{
             {true, false}, {false, false}, {true, true}}) {
      for (const Precision precision : {FP64, FP32, BF16}) {
        SCOPED_TRACE(absl::StrFormat(
            "data %d tensor %d %s overlap %d regions %d", layout.data,
            layout.tensor, Precision_Name(precision), overlap, regions));
        RunConfig sharded = Config(layout, precision, 1);
        sharded.mutable_parallel()->set_overlap_gradients(overlap);
        sharded.mutable_parallel()->set_sequence_parallel(regions);
        Training plain(layout, Config(layout, precision, 0));
        Training zero(layout, sharded);
        const double tolerance = LossTolerance(precision);
        for (int step = 0; step < 5; ++step) {
          const StepResult expected = plain.Run(step);
          const StepResult result = zero.Run(step);
          EXPECT_NEAR(result.loss / expected.loss, 1, tolerance);
          EXPECT_NEAR(result.gradient_norm / expected.gradient_norm, 1,
                      10 * tolerance);
          EXPECT_EQ(result.batch_hash, expected.batch_hash);
        }
        // Masters are compared through the next tests' checkpoints.
        if (precision == BF16) continue;
        for (const ShardedTensor& shard : plain.step().State()) {
          if (shard.name.starts_with("optimizer.")) continue;
          for (const ShardedTensor& other : zero.step().State()) {
            if (other.name != shard.name) continue;
            EXPECT_LT(testing::MaxDifference(other.tensor, shard.tensor),
                      precision == FP64 ? 1e-10 : 1e-4)
                << shard.name;
          }
        }
      }
    }
  }
}

// Ten steps on the same batch, learned as in fp32: losses within 1 %.
TEST(MixedPrecision, FollowsFp32) {
  for (const MeshShape layout : Layouts()) {
    Training fp32(layout, Config(layout, FP32, 0));
    Training bf16(layout, Config(layout, BF16, 0));
    const double first = fp32.Run(0).loss;
    EXPECT_NEAR(bf16.Run(0).loss / first, 1, 1e-2);
    double last = first;
    for (int step = 1; step < 10; ++step) {
      last = fp32.Run(0).loss;
      EXPECT_NEAR(bf16.Run(0).loss / last, 1, 1e-2) << step;
    }
    EXPECT_LT(last, 0.9 * first);
  }
}

TEST(ZeroStage1, HoldsItsShareOfTheOptimizerState) {
  for (const MeshShape layout : Layouts()) {
    Training plain(layout, Config(layout, FP32, 0));
    Training zero(layout, Config(layout, FP32, 1));
    const int64_t whole = plain.step().optimizer().state()[0].flat.numel();
    const int64_t share = zero.step().optimizer().state()[0].flat.numel();
    EXPECT_GE(share * layout.data, whole);
    EXPECT_LT(share, whole / layout.data + 3);
  }
}

class ZeroCheckpoint : public ::testing::Test {
 protected:
  ZeroCheckpoint() {
    if (world_->rank() == 0) folder_.emplace();
    run_folder_ = BroadcastText(*world_, folder_ ? *folder_ / "run" : "", 0);
  }
  ~ZeroCheckpoint() override { world_->Barrier(); }

  void Save(int64_t step, TrainStep& from) {
    TrainingState state;
    state.set_step(step);
    const std::vector<ShardedTensor> tensors = from.State();
    CheckpointSaver saver(*world_,
                          {.run_folder = run_folder_,
                           .origin = {},
                           .retention = {.keep_last = 100, .keep_every = 0},
                           .max_tensor = 2},
                          tensors);
    saver.Start(state, tensors);
    saver.Finish();
    const absl::Status status = saver.TakeOutcomes().at(0).status;
    ASSERT_TRUE(status.ok()) << status;
  }

  void Load(int64_t step, const std::vector<ShardedTensor>& into) {
    const std::string folder = run_folder_ + "/" + StepFolderName(step);
    const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    const absl::Status status = LoadTensors(folder, *manifest, into);
    ASSERT_TRUE(status.ok()) << status;
  }

  const std::unique_ptr<Communicator> world_ = Session().World();
  std::optional<testing::TemporaryFolder> folder_;
  std::string run_folder_;
};

// What one layout and stage saves, with sequence regions, another loads bit for
// bit without: saved again it is the same, and it trains on.
TEST_F(ZeroCheckpoint, LoadsAtAnyStageAndLayout) {
  int64_t step = 0;
  for (const MeshShape from : Layouts()) {
    for (const MeshShape to : Layouts()) {
      for (const auto& [stage, precision] :
           std::vector<std::pair<int, Precision>>{
               {0, FP32}, {1, FP32}, {0, BF16}, {1, BF16}}) {
        SCOPED_TRACE(
            absl::StrFormat("%s, stage %d, data %d x tensor %d to %d x %d",
                            Precision_Name(precision), stage, from.data,
                            from.tensor, to.data, to.tensor));
        RunConfig with_regions = Config(from, precision, stage);
        with_regions.mutable_parallel()->set_sequence_parallel(true);
        Training saved(from, with_regions);
        saved.Run(0);
        saved.Run(1);
        Save(++step, saved.step());
        // Loaded in the other stage, saved from there, loaded by the first.
        Training other(to, Config(to, precision, 1 - stage));
        Load(step, other.step().State());
        other.step().FinishLoading(2);
        Save(++step, other.step());
        std::vector<ShardedTensor> back = saved.step().State();
        std::vector<at::Tensor> before;
        for (ShardedTensor& shard : back) {
          before.push_back(shard.tensor.clone());
          shard.tensor = at::full_like(shard.tensor, 7);
        }
        Load(step, back);
        for (size_t i = 0; i < back.size(); ++i) {
          EXPECT_TRUE(at::equal(back[i].tensor, before[i])) << back[i].name;
        }
        EXPECT_NEAR(other.Run(2).loss / saved.Run(2).loss, 1,
                    precision == BF16 ? 1e-2 : 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace lextra
