// fp64 integers: equality with the plain sum is demanded.
#include "parallel/data_parallel/gradient_reducer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/testing/mpi_world.h"
#include "tests/testing/noting_communicator.h"

namespace lextra {
namespace {

class Reducer : public ::testing::Test {
 protected:
  // a x + b, applied twice: a and b are decayed, c is not, and no loss depends
  // on `unused`.
  Reducer() {
    for (const auto& [size, decays] : std::vector<std::pair<int64_t, bool>>{
             {10, true}, {7, false}, {9, true}, {4, false}}) {
      Parameter& parameter = parameters_.emplace_back();
      parameter.leaf =
          at::arange(size, at::kDouble).remainder(3).requires_grad_(true);
      parameter.weight_decay = decays;
    }
  }

  std::vector<Parameter*> Pointers() {
    std::vector<Parameter*> pointers;
    for (Parameter& parameter : parameters_) pointers.push_back(&parameter);
    return pointers;
  }

  // Its gradient differs from rank to rank. The last parameter has no part.
  at::Tensor Loss() const {
    const double mine = 1 + world_->rank();
    at::Tensor loss = (parameters_[0].leaf * mine).square().sum();
    loss = loss * parameters_[1].leaf.sum();
    return loss * (parameters_[2].leaf * mine).sum();
  }

  at::Tensor PlainSum(FlatParameters& flat) {
    flat.ZeroGradients();
    Loss().backward();
    at::Tensor sum = flat.gradients().clone();
    world_->AllReduce(sum, ReduceOp::kSum);
    flat.ZeroGradients();
    return sum;
  }

  const std::unique_ptr<Communicator> world_ = testing::Session().World();
  std::vector<Parameter> parameters_;
};

TEST_F(Reducer, EqualsThePlainSumForAnyBucketSize) {
  for (const int64_t bucket_bytes : {1, 8, 24, 80, 1 << 20}) {
    FlatParameters flat(Pointers(), {.bucket_bytes = bucket_bytes});
    const at::Tensor sum = PlainSum(flat);
    ASSERT_GT(sum.abs().sum().item<double>(), 0);
    GradientReducer reducer(flat, *world_);
    for (int step = 0; step < 2; ++step) {
      flat.ZeroGradients();
      reducer.Start();
      Loss().backward();
      reducer.Finish();
      EXPECT_TRUE(flat.gradients().equal(sum)) << bucket_bytes;
    }
  }
}

// Owners get the plain sum of their part, with and without overlap.
TEST_F(Reducer, GivesEachOwnerTheSumsOfItsPart) {
  for (const int64_t bucket_bytes : {1, 24, 80, 1 << 20}) {
    for (const bool overlap : {true, false}) {
      FlatParameters flat(Pointers(), {.bucket_bytes = bucket_bytes,
                                       .owner = world_->rank(),
                                       .num_owners = world_->size()});
      const at::Tensor sum = PlainSum(flat);
      GradientReducer reducer(flat, *world_, overlap);
      reducer.Start();
      Loss().backward();
      reducer.Finish();
      int64_t num_owned = 0;
      for (const FlatParameters::Piece& piece : flat.pieces()) {
        EXPECT_TRUE(
            at::equal(flat.gradients().narrow(0, piece.begin, piece.size),
                      sum.narrow(0, piece.begin, piece.size)));
        num_owned += piece.size;
      }
      EXPECT_EQ(num_owned * world_->size(), flat.gradients().numel());
    }
  }
}

TEST_F(Reducer, WithoutOverlapReducesNothingDuringTheBackwardPass) {
  FlatParameters flat(Pointers());
  const at::Tensor sum = PlainSum(flat);
  testing::NotingCommunicator noting(*world_);
  GradientReducer reducer(flat, noting, /*overlap=*/false);
  reducer.Start();
  Loss().backward();
  EXPECT_TRUE(noting.sizes().empty());
  reducer.Finish();
  EXPECT_TRUE(flat.gradients().equal(sum));
}

TEST_F(Reducer, EarlierPassesOnlyAccumulate) {
  FlatParameters flat(Pointers());
  const at::Tensor sum = PlainSum(flat);
  testing::NotingCommunicator noting(*world_);
  GradientReducer reducer(flat, noting);
  Loss().backward();
  EXPECT_TRUE(noting.sizes().empty());
  reducer.Start();
  Loss().backward();
  reducer.Finish();
  EXPECT_TRUE(flat.gradients().equal(sum * 2));
}

TEST_F(Reducer, ReducesFullBucketsDuringTheBackwardPass) {
  if (world_->size() == 1) GTEST_SKIP() << "one rank has nothing to reduce";
  FlatParameters flat(Pointers(), {.bucket_bytes = 5 * 8});
  testing::NotingCommunicator noting(*world_);
  GradientReducer reducer(flat, noting);
  reducer.Start();
  Loss().backward();
  // 19 decayed elements from the back, then the others; the last 4 belong to
  // the unused parameter and keep what follows back until Finish.
  EXPECT_EQ(noting.sizes(), (std::vector<int64_t>{5, 5, 5, 4}));
  reducer.Finish();
  EXPECT_EQ(noting.sizes(), (std::vector<int64_t>{5, 5, 5, 4, 5, 5, 1}));
}

TEST_F(Reducer, RefusesASecondPassAfterStart) {
  if (world_->size() == 1) GTEST_SKIP() << "one rank has nothing to reduce";
  FlatParameters flat(Pointers());
  GradientReducer reducer(flat, *world_);
  reducer.Start();
  Loss().backward();
  EXPECT_THROW(Loss().backward(), c10::Error);
  reducer.Finish();
}

TEST_F(Reducer, WatchesNothingOnceItIsGone) {
  FlatParameters flat(Pointers());
  const at::Tensor sum = PlainSum(flat);
  const at::Tensor loss = Loss();
  std::make_unique<GradientReducer>(flat, *world_)->Start();
  loss.backward();
  world_->AllReduce(flat.gradients(), ReduceOp::kSum);
  EXPECT_TRUE(flat.gradients().equal(sum));
}

}  // namespace
}  // namespace lextra
