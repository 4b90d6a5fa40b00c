// One wrong bit on one rank, found and named by all.
#include "trainer/replica_check.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/testing/mpi_world.h"
#include "trainer/optimizer/adamw.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::MakeMesh;
using ::testing::Not;
using testing::Session;

class ReplicaCheck : public ::testing::Test {
 protected:
  // Three updates of the same state on all ranks of a data axis. On each
  // coordinate of the tensor axis the matrix is another shard, the bias the
  // same.
  void Train(MeshShape shape) {
    mesh_ = MakeMesh(shape);
    at::manual_seed(7);
    bias_.leaf = at::randn({11}).requires_grad_(true);
    const at::Tensor bias_gradients = at::randn({3, 11});
    at::manual_seed(static_cast<uint64_t>(mesh_->tensor().rank()));
    matrix_.leaf = at::randn({30, 7}).requires_grad_(true);
    matrix_.weight_decay = true;
    matrix_.tensor_sharded = true;
    parameters_ = std::make_unique<FlatParameters>(
        std::vector<Parameter*>{&matrix_, &bias_});
    optimizer_ = std::make_unique<AdamW>(*parameters_, OptimizerConfig());
    for (int step = 0; step < 3; ++step) {
      matrix_.leaf.mutable_grad().copy_(at::randn({30, 7}));
      bias_.leaf.mutable_grad().copy_(bias_gradients[step]);
      optimizer_->Step(1e-2, at::full({1}, 2.0), at::zeros({1}));
    }
  }

  absl::Status Check(int64_t step = 300) {
    return CheckReplicas(*parameters_, *optimizer_, *mesh_, step);
  }

  static void FlipBit(const at::Tensor& flat, int64_t element, int bit) {
    static_cast<uint32_t*>(flat.mutable_data_ptr())[element] ^= 1u << bit;
  }

  // The status is a numeric error with one text on all ranks.
  std::string MessageOfAll(const absl::Status& status) {
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kNumeric) << status;
    const at::Tensor hash = at::full(
        {1}, static_cast<int64_t>(std::hash<std::string>()(status.ToString())),
        at::kLong);
    const at::Tensor least = hash.clone();
    mesh_->world().AllReduce(least, ReduceOp::kMin);
    EXPECT_TRUE(hash.equal(least)) << status;
    return std::string(status.message());
  }

  int rank() const { return Session().rank(); }
  static int size() { return Session().size(); }

  std::unique_ptr<DeviceMesh> mesh_;
  Parameter matrix_;
  Parameter bias_;
  std::unique_ptr<FlatParameters> parameters_;
  std::unique_ptr<AdamW> optimizer_;
};

TEST_F(ReplicaCheck, EqualReplicasPassAtEveryLayout) {
  for (int tensor = 1; tensor <= size(); ++tensor) {
    if (size() % tensor != 0) continue;
    Train({.data = size() / tensor, .tensor = tensor});
    EXPECT_EQ(Check(), absl::OkStatus()) << "tensor " << tensor;
  }
}

TEST_F(ReplicaCheck, ShardsWithoutReplicasHaveNothingToCompare) {
  Train({.data = 1, .tensor = size()});
  FlipBit(parameters_->values(), rank(), 3);
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(ReplicaCheck, WhatTheTensorAxisDoesNotSplitIsComparedAlongIt) {
  if (size() == 1) return;
  Train({.data = 1, .tensor = size()});
  const int last = static_cast<int>(parameters_->values().numel()) - 1;
  const auto flip = [&](const at::Tensor& flat) {
    if (rank() == size() - 1) FlipBit(flat, last, 0);
  };
  flip(parameters_->values());
  const std::string message = MessageOfAll(Check());
  EXPECT_THAT(message,
              AllOf(HasSubstr("step 300: replicas differ in parameters "
                              "replicated over the tensor axis: rank "),
                    Not(HasSubstr("optimizer state"))));
  if (size() == 4) {
    EXPECT_THAT(message, HasSubstr(": rank 3 against ranks 0, 1, 2. "));
  }
  flip(parameters_->values());
  EXPECT_EQ(Check(), absl::OkStatus());
  flip(optimizer_->state()[1].flat);
  EXPECT_THAT(MessageOfAll(Check()),
              HasSubstr("differ in optimizer state replicated over the tensor "
                        "axis: rank "));
}

TEST_F(ReplicaCheck, AnUnsplitParameterIsComparedAlongBothAxes) {
  if (size() != 4) return;
  Train({.data = 2, .tensor = 2});
  if (rank() == 3) {
    FlipBit(parameters_->values(), parameters_->values().numel() - 1, 0);
  }
  EXPECT_THAT(
      MessageOfAll(Check()),
      HasSubstr("parameters: rank 1 against rank 3 (can't tell which is "
                "right), and in parameters replicated over the tensor "
                "axis: rank 2 against rank 3 (can't"));
}

TEST_F(ReplicaCheck, AnyBitOfOneRankIsFoundAndItsKindNamed) {
  if (size() == 1) return;
  Train({.data = size()});
  const int last = static_cast<int>(parameters_->values().numel()) - 1;
  for (const int bit : {0, 22, 31}) {
    for (const int element : {0, last / 2, last}) {
      const auto flip = [&](const at::Tensor& flat) {
        if (rank() == size() - 1) FlipBit(flat, element, bit);
      };
      for (const at::Tensor& moment :
           {optimizer_->state()[0].flat, optimizer_->state()[1].flat}) {
        flip(moment);
        EXPECT_THAT(MessageOfAll(Check()), AllOf(HasSubstr("optimizer state"),
                                                 Not(HasSubstr("parameters"))));
        flip(moment);
      }
      flip(parameters_->values());
      EXPECT_THAT(
          MessageOfAll(Check()),
          AllOf(HasSubstr("step 300: replicas differ in parameters: rank"),
                Not(HasSubstr("optimizer state"))));
      flip(parameters_->values());
      EXPECT_EQ(Check(), absl::OkStatus());
    }
  }
  if (rank() == 0) optimizer_->set_num_updates(4);
  EXPECT_THAT(MessageOfAll(Check()), HasSubstr("optimizer state"));
}

TEST_F(ReplicaCheck, TwoReplicasThatDifferCannotBeJudged) {
  if (size() != 2) return;
  Train({.data = 2});
  if (rank() == 1) FlipBit(parameters_->values(), 5, 7);
  EXPECT_THAT(MessageOfAll(Check()), HasSubstr("parameters: rank "));
  EXPECT_THAT(MessageOfAll(Check()),
              HasSubstr("rank 0 against rank 1 (can't tell which is right)"));
}

TEST_F(ReplicaCheck, MostReplicasJudgeTheOthers) {
  if (size() != 4) return;
  Train({.data = 4});
  if (rank() == 2) FlipBit(parameters_->values(), 5, 7);
  EXPECT_THAT(MessageOfAll(Check(1200)),
              HasSubstr("step 1200: replicas differ in parameters: rank 2 "
                        "against ranks 0, 1, 3. "));
  // Two that differ each in its own way, then two that differ alike.
  if (rank() == 0) FlipBit(parameters_->values(), 9, 1);
  EXPECT_THAT(MessageOfAll(Check()),
              HasSubstr(": ranks 0, 2 against ranks 1, 3. "));
  if (rank() == 0) {
    FlipBit(parameters_->values(), 9, 1);
    FlipBit(parameters_->values(), 5, 7);
  }
  EXPECT_THAT(MessageOfAll(Check()), HasSubstr(": ranks 0, 2 against ranks 1, "
                                               "3 (can't tell which is "
                                               "right). "));
  // And a moment elsewhere.
  if (rank() == 3) FlipBit(optimizer_->state()[0].flat, 0, 30);
  EXPECT_THAT(MessageOfAll(Check()),
              HasSubstr(", and in optimizer state: rank 3 against ranks 0, 1, "
                        "2. "));
}

TEST_F(ReplicaCheck, ShardsOfTheTensorAxisAreComparedOnlyWithTheirReplicas) {
  if (size() != 4) return;
  Train({.data = 2, .tensor = 2});
  EXPECT_EQ(Check(), absl::OkStatus());
  // Ranks 1 and 3 hold the second shard.
  if (rank() == 3) FlipBit(parameters_->values(), 5, 7);
  EXPECT_THAT(MessageOfAll(Check()),
              AllOf(HasSubstr(": rank 1 against rank 3 (can't tell"),
                    Not(HasSubstr("rank 0")), Not(HasSubstr("rank 2"))));
  if (rank() == 0) FlipBit(parameters_->values(), 5, 7);
  EXPECT_THAT(MessageOfAll(Check()),
              HasSubstr("rank 0 against rank 2 (can't tell which is right); "
                        "rank 1 against rank 3 (can't tell"));
}

}  // namespace
}  // namespace lextra
