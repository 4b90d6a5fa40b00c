#include "parallel/parameter.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

// Element (i, j) is 10 i + j.
at::Tensor Numbered(const std::string& /*name*/,
                    const std::vector<int64_t>& shape) {
  return at::arange(shape[0], at::kFloat).mul(10).unsqueeze(1) +
         at::arange(shape[1], at::kFloat);
}

Parameter TwoPieces() {
  return MakeParameter(
      {{.name = "a", .global_shape = {6, 4}, .box = {{2, 1}, {3, 2}}},
       {.name = "b", .global_shape = {4, 2}, .box = {{0, 0}, {2, 2}}}},
      /*weight_decay=*/true, /*tensor_sharded=*/true, Numbered);
}

TEST(Parameter, StacksTheBoxesOfTheWholeTensors) {
  const Parameter parameter = TwoPieces();
  EXPECT_TRUE(parameter.leaf.detach().equal(
      at::tensor({21., 22., 31., 32., 41., 42., 0., 1., 10., 11.}, at::kFloat)
          .view({5, 2})));
  EXPECT_TRUE(parameter.leaf.is_leaf());
  EXPECT_TRUE(parameter.leaf.requires_grad());
}

constexpr MeshPlace kPlace = {
    .data_rank = 1, .num_data = 3, .tensor_rank = 1, .num_tensor = 2};

TEST(Parameter, ShardsAreNamedViewsOfWhatIsGiven) {
  const Parameter parameter = TwoPieces();
  const at::Tensor state = at::zeros({5, 2});
  const std::vector<ShardedTensor> shards =
      parameter.Shards(state, kPlace, "optimizer.m.");
  ASSERT_EQ(shards.size(), 2u);
  EXPECT_EQ(shards[1].name, "optimizer.m.b");
  EXPECT_EQ(shards[1].tensor.sizes().vec(), shards[1].box.shape);
  shards[1].tensor.fill_(7);
  EXPECT_TRUE(state.narrow(0, 3, 2).eq(7).all().item<bool>());
  EXPECT_TRUE(state.narrow(0, 0, 3).eq(0).all().item<bool>());
}

TEST(Parameter, ReplicasAreDataRanksAndTensorRanksWhereTheyHoldTheSame) {
  Parameter parameter = TwoPieces();
  ShardedTensor shard = parameter.Shards(parameter.leaf, kPlace)[0];
  EXPECT_EQ(shard.replica, 1);
  EXPECT_EQ(shard.num_replicas, 3);
  parameter.tensor_sharded = false;
  shard = parameter.Shards(parameter.leaf, kPlace)[0];
  EXPECT_EQ(shard.replica, 3);
  EXPECT_EQ(shard.num_replicas, 6);
}

TEST(GradientOf, IsMadeOnceAsZeros) {
  const Parameter parameter = TwoPieces();
  const at::Tensor gradient = GradientOf(parameter.leaf);
  EXPECT_TRUE(gradient.eq(0).all().item<bool>());
  gradient.fill_(3);
  EXPECT_TRUE(GradientOf(parameter.leaf).is_same(gradient));
}

}  // namespace
}  // namespace lextra
