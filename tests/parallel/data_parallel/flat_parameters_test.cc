#include "parallel/data_parallel/flat_parameters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

class Flat : public ::testing::Test {
 protected:
  static Parameter Make(std::vector<int64_t> shape, double value, bool decays) {
    Parameter parameter;
    parameter.leaf = at::full(shape, value, at::kFloat).requires_grad_(true);
    parameter.weight_decay = decays;
    return parameter;
  }

  Parameter bias_ = Make({3}, 1, false);
  Parameter matrix_ = Make({2, 3}, 2, true);
  Parameter norm_ = Make({4}, 3, false);
  Parameter output_ = Make({5}, 4, true);
  FlatParameters flat_{{&bias_, &matrix_, &norm_, &output_}};
};

TEST_F(Flat, HoldsTheValuesDecayedFirst) {
  ASSERT_EQ(flat_.pieces().size(), 2);
  EXPECT_EQ(flat_.pieces()[0].begin, 0);
  EXPECT_EQ(flat_.pieces()[0].size, 11);
  EXPECT_TRUE(flat_.pieces()[0].weight_decay);
  EXPECT_EQ(flat_.pieces()[1].begin, 11);
  EXPECT_FALSE(flat_.pieces()[1].weight_decay);
  EXPECT_TRUE(
      flat_.values().equal(at::cat({at::full({6}, 2.0), at::full({5}, 4.0),
                                    at::full({3}, 1.0), at::full({4}, 3.0)})));
  EXPECT_EQ(flat_.slots()[2].parameter, &bias_);
  EXPECT_EQ(flat_.slots()[2].begin, 11);
  EXPECT_EQ(flat_.slots()[2].size, 3);
}

TEST_F(Flat, LeavesAreViewsOfIt) {
  flat_.values().mul_(10);
  EXPECT_TRUE(matrix_.leaf.detach().equal(at::full({2, 3}, 20.0)));
  EXPECT_TRUE(matrix_.leaf.is_leaf());
  EXPECT_FALSE(flat_.values().requires_grad());
}

TEST_F(Flat, GradientsStayViewsOverBackwardPasses) {
  for (int pass = 1; pass <= 2; ++pass) {
    (matrix_.leaf.sum() + (norm_.leaf * 2).sum()).backward();
    EXPECT_TRUE(flat_.gradients().equal(
        at::cat({at::full({6}, 1.0 * pass), at::zeros({8}),
                 at::full({4}, 2.0 * pass)})));
  }
  flat_.ZeroGradients();
  EXPECT_TRUE(matrix_.leaf.grad().eq(0).all().item<bool>());
}

// Every element has one owner, buckets divide, and padding is zero.
TEST_F(Flat, OwnersHaveEqualPartsOfEveryBucket) {
  for (const int num_owners : {1, 2, 3, 4}) {
    for (const int64_t bucket_bytes : {1, 16, 1000}) {
      SCOPED_TRACE(num_owners * 10000 + bucket_bytes);
      at::Tensor owners;
      for (int owner = 0; owner < num_owners; ++owner) {
        const FlatParameters flat({&bias_, &matrix_, &norm_, &output_},
                                  {.bucket_bytes = bucket_bytes,
                                   .owner = owner,
                                   .num_owners = num_owners});
        if (!owners.defined()) owners = at::zeros_like(flat.values());
        int64_t place = 0;
        for (const FlatParameters::Piece& piece : flat.pieces()) {
          owners.narrow(0, piece.begin, piece.size).add_(1);
          EXPECT_EQ(piece.place, place);
          place += piece.size;
        }
        EXPECT_EQ(place, flat.num_owned());
        EXPECT_EQ(flat.num_owned() * num_owners, flat.values().numel());
        EXPECT_LT(flat.values().numel(), 18 + 2 * num_owners);
        EXPECT_EQ(flat.values().sum().item<double>(), 6 * 2 + 5 * 4 + 3 + 12);
        for (const FlatParameters::Bucket& bucket : flat.buckets()) {
          EXPECT_EQ(bucket.size % num_owners, 0);
        }
      }
      EXPECT_TRUE(owners.eq(1).all().item<bool>());
    }
  }
}

TEST_F(Flat, MastersKeepWhatBfloat16Rounds) {
  matrix_.leaf.detach().fill_(1 + 1.0 / 1024);
  FlatParameters mixed({&bias_, &matrix_}, {.compute_type = at::kBFloat16});
  EXPECT_EQ(matrix_.leaf.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(matrix_.leaf.eq(1).all().item<bool>());
  EXPECT_TRUE(
      mixed.Masters(mixed.pieces()[0]).equal(at::full({6}, 1 + 1.0 / 1024)));
  // A backward pass adds to the fp32 gradient.
  for (int pass = 0; pass < 2; ++pass) {
    (matrix_.leaf * (1 + 1.0 / 128)).sum().backward();
  }
  EXPECT_TRUE(mixed.gradients().narrow(0, 0, 6).equal(
      at::full({6}, 2 * (1 + 1.0 / 128))));
  mixed.Masters(mixed.pieces()[0]).fill_(3);
  mixed.RoundMasters();
  EXPECT_TRUE(matrix_.leaf.eq(3).all().item<bool>());
}

TEST(FlatParameters, RefusesTwoDtypes) {
  Parameter a;
  a.leaf = at::zeros({2}, at::kFloat).requires_grad_(true);
  Parameter b;
  b.leaf = at::zeros({2}, at::kDouble).requires_grad_(true);
  EXPECT_THROW(FlatParameters({&a, &b}), c10::Error);
}

}  // namespace
}  // namespace lextra
