// fp64 integers: equality is demanded.
#include "parallel/conjugate_collectives.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

class ConjugateCollectives : public ::testing::Test {
 protected:
  // y = f(x) with x = rank + 1, and dx for dy = 10 * (rank + 1) in all places.
  void Run(at::Tensor (*f)(const at::Tensor&, Communicator&)) {
    const double mine = axis_->rank() + 1;
    at::Tensor x = at::full({2, 3}, mine, at::kDouble).requires_grad_(true);
    const at::Tensor y = f(x, *axis_);
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

TEST_F(ConjugateCollectives, CopyToAxisSumsTheGradientOnly) {
  Run(CopyToAxis);
  EXPECT_EQ(y_, mine_);
  EXPECT_EQ(dx_, 10 * total_);
}

TEST_F(ConjugateCollectives, ReduceFromAxisSumsTheValueOnly) {
  Run(ReduceFromAxis);
  EXPECT_EQ(y_, total_);
  EXPECT_EQ(dx_, 10 * mine_);
}

TEST_F(ConjugateCollectives, OneAfterTheOtherSumBoth) {
  Run([](const at::Tensor& x, Communicator& axis) {
    return ReduceFromAxis(CopyToAxis(x, axis), axis);
  });
  EXPECT_EQ(y_, total_);
  EXPECT_EQ(dx_, 10 * total_);
}

TEST_F(ConjugateCollectives, LeaveTheArgumentAndASharedGradientAlone) {
  at::Tensor x = at::ones({4}, at::kDouble).requires_grad_(true);
  const at::Tensor y = x * 1;
  const at::Tensor sum = ReduceFromAxis(CopyToAxis(y, *axis_), *axis_);
  EXPECT_TRUE(y.eq(1).all().item<bool>());
  // The gradient of the addition is one tensor for both operands.
  (sum + y).sum().backward();
  EXPECT_TRUE(x.grad().eq(axis_->size() + 1).all().item<bool>());
}

// Rank r holds rows 10 r + 0 .. 1; dy of whole row i on rank r is i + 100 r.
TEST_F(ConjugateCollectives, GatherFromAxisJoinsAndScattersTheSumOfGradients) {
  const int size = axis_->size();
  at::Tensor x = (at::arange(2, at::kDouble) + 10 * axis_->rank())
                     .unsqueeze(1)
                     .requires_grad_(true);
  const at::Tensor y = GatherFromAxis(x, *axis_);
  ASSERT_EQ(y.sizes().vec(), (std::vector<int64_t>{2 * size, 1}));
  for (int i = 0; i < 2 * size; ++i) {
    EXPECT_EQ(y[i][0].item<double>(), 10 * (i / 2) + i % 2);
  }
  const at::Tensor dy =
      (at::arange(2 * size, at::kDouble) + 100 * axis_->rank()).unsqueeze(1);
  (y * dy).sum().backward();
  for (int row = 0; row < 2; ++row) {
    EXPECT_EQ(x.grad()[row][0].item<double>(),
              size * (2 * axis_->rank() + row) + 100 * size * (size - 1) / 2);
  }
}

// The same numbers with the directions exchanged.
TEST_F(ConjugateCollectives, ScatterToAxisSumsAndJoinsTheGradients) {
  const int size = axis_->size();
  at::Tensor x = (at::arange(2 * size, at::kDouble) + 100 * axis_->rank())
                     .unsqueeze(1)
                     .requires_grad_(true);
  const at::Tensor y = ScatterToAxis(x, *axis_);
  ASSERT_EQ(y.sizes().vec(), (std::vector<int64_t>{2, 1}));
  for (int row = 0; row < 2; ++row) {
    EXPECT_EQ(y[row][0].item<double>(),
              size * (2 * axis_->rank() + row) + 100 * size * (size - 1) / 2);
  }
  const at::Tensor dy =
      (at::arange(2, at::kDouble) + 10 * axis_->rank()).unsqueeze(1);
  (y * dy).sum().backward();
  for (int i = 0; i < 2 * size; ++i) {
    EXPECT_EQ(x.grad()[i][0].item<double>(), 10 * (i / 2) + i % 2);
  }
}

TEST_F(ConjugateCollectives, ReturnTheArgumentInAGroupOfOne) {
  const std::unique_ptr<Communicator> alone =
      axis_->Split(axis_->rank(), 0, "alone");
  const at::Tensor x = at::ones({4}, at::kDouble).requires_grad_(true);
  for (const auto f :
       {CopyToAxis, ReduceFromAxis, GatherFromAxis, ScatterToAxis}) {
    EXPECT_TRUE(f(x, *alone).is_same(x));
  }
}

}  // namespace
}  // namespace lextra
