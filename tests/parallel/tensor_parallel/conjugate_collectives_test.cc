// fp64 integers: equality is demanded.
#include "parallel/tensor_parallel/conjugate_collectives.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

class ConjugateCollectives : public ::testing::Test {
 protected:
  // y = f(x) with x = rank + 1, and dx for dy = 10 * (rank + 1) in all places.
  void Run(at::Tensor (*f)(const at::Tensor&, Communicator&,
                           ActivationLayout)) {
    const double mine = axis_->rank() + 1;
    at::Tensor x = at::full({2, 3}, mine, at::kDouble).requires_grad_(true);
    const at::Tensor y = f(x, *axis_, ActivationLayout::kReplicated);
    // From sum(), dy arrives expanded.
    (y * (10 * mine)).sum().backward();
    y_ = y[0][0].item<double>();
    dx_ = x.grad()[1][2].item<double>();
  }

  const std::unique_ptr<Communicator> axis_ = testing::Session().World();
  const double mine_ = axis_->rank() + 1;
  const double total_ = axis_->size() * (axis_->size() + 1) / 2;
  double y_ = 0;
  double dx_ = 0;
};

TEST_F(ConjugateCollectives, ReduceFromAxisSumsTheValueOnly) {
  Run(ReduceFromAxis);
  EXPECT_EQ(y_, total_);
  EXPECT_EQ(dx_, 10 * mine_);
}

// Token n of rank r is 100 r + n, so that a part out of order is seen.
TEST_F(ConjugateCollectives, ReduceFromAxisSumsThisRanksTokensAndGathersBack) {
  const int64_t size = axis_->size();
  const at::Tensor places =
      at::arange(2 * 3 * size, at::kDouble).view({2, 3 * size, 1});
  at::Tensor x = (places + 100 * axis_->rank()).requires_grad_(true);
  const at::Tensor y = ReduceFromAxis(x, *axis_, ActivationLayout::kSplit);
  const auto mine = [&](const at::Tensor& whole) {
    return whole.flatten(0, 1).narrow(0, 6 * axis_->rank(), 6);
  };
  EXPECT_TRUE(y.equal(mine(places * size + 100 * (total_ - size))));
  y.backward(mine(places * 7));
  EXPECT_TRUE(x.grad().equal(places * 7));
}

TEST_F(ConjugateCollectives, LeaveTheArgumentAndASharedGradientAlone) {
  at::Tensor x = at::ones({4}, at::kDouble).requires_grad_(true);
  const at::Tensor y = x * 1;
  const at::Tensor sum = ReduceFromAxis(y, *axis_);
  EXPECT_TRUE(y.eq(1).all().item<bool>());
  // The gradient of the addition is one tensor for both operands.
  (sum + y).sum().backward();
  EXPECT_TRUE(x.grad().eq(2).all().item<bool>());
}

TEST_F(ConjugateCollectives, ReturnTheArgumentInAGroupOfOne) {
  const std::unique_ptr<Communicator> alone =
      axis_->Split(axis_->rank(), 0, "alone");
  const at::Tensor x = at::ones({4}, at::kDouble).requires_grad_(true);
  EXPECT_TRUE(ReduceFromAxis(x, *alone).is_same(x));
}

}  // namespace
}  // namespace lextra
