#include "parallel/flat_parameters.h"

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
  EXPECT_EQ(flat_.num_decayed(), 11);
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

TEST(FlatParameters, RefusesTwoDtypes) {
  Parameter a;
  a.leaf = at::zeros({2}, at::kFloat).requires_grad_(true);
  Parameter b;
  b.leaf = at::zeros({2}, at::kDouble).requires_grad_(true);
  EXPECT_THROW(FlatParameters({&a, &b}), c10::Error);
}

}  // namespace
}  // namespace lextra
