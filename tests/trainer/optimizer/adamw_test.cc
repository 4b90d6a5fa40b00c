#include "trainer/optimizer/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/testing/golden.h"

namespace lextra {
namespace {

Parameter MakeParameter(const at::Tensor& leaf, bool weight_decay) {
  Parameter parameter;
  parameter.leaf = leaf.clone().set_requires_grad(true);
  parameter.weight_decay = weight_decay;
  return parameter;
}

TEST(AdamW, FollowsItsEquationWithDecayByGroupAndClip) {
  OptimizerConfig config;
  config.set_beta1(0.8);
  config.set_beta2(0.9);
  config.set_epsilon(1e-3);
  config.set_weight_decay(0.25);
  const at::Tensor initial = at::randn({7, 3}, at::kDouble);
  Parameter bias = MakeParameter(initial, false);
  Parameter matrix = MakeParameter(initial, true);
  FlatParameters flat({&bias, &matrix});
  AdamW optimizer(flat, config);

  const double learning_rate = 0.05;
  const double clip = 0.3;  // has no exact fp32
  at::Tensor expected[] = {initial.clone(), initial.clone()};
  at::Tensor m = at::zeros_like(initial);
  at::Tensor v = at::zeros_like(initial);
  for (int step = 1; step <= 3; ++step) {
    const at::Tensor gradient = at::randn({7, 3}, at::kDouble);
    flat.ZeroGradients();
    bias.leaf.mutable_grad().copy_(gradient);
    matrix.leaf.mutable_grad().copy_(gradient);
    optimizer.Step(learning_rate, at::full({1}, 1 / clip, at::kDouble),
                   at::zeros({1}));

    const at::Tensor g = gradient * clip;
    m = 0.8 * m + 0.2 * g;
    v = 0.9 * v + 0.1 * g * g;
    const at::Tensor update = (m / (1 - std::pow(0.8, step))) /
                              ((v / (1 - std::pow(0.9, step))).sqrt() + 1e-3);
    for (const int group : {0, 1}) {
      const double decay = group == 1 ? 0.25 : 0;
      expected[group] =
          expected[group] - learning_rate * (decay * expected[group] + update);
    }
  }
  EXPECT_LT(testing::MaxDifference(bias.leaf.detach(), expected[0]), 1e-14);
  EXPECT_LT(testing::MaxDifference(matrix.leaf.detach(), expected[1]), 1e-14);
}

TEST(AdamW, ASkippedStepChangesNothingAndIsNotCounted) {
  Parameter matrix = MakeParameter(at::randn({5, 3}), true);
  FlatParameters flat({&matrix});
  AdamW optimizer(flat, OptimizerConfig());
  matrix.leaf.mutable_grad().copy_(at::randn({5, 3}));
  optimizer.Step(0.1, at::ones({1}), at::zeros({1}));
  const at::Tensor values = flat.values().clone();
  const at::Tensor exp_avg = optimizer.state()[0].flat.clone();
  matrix.leaf.mutable_grad().fill_(std::nan(""));
  optimizer.Step(0.1, at::ones({1}), at::ones({1}));
  EXPECT_TRUE(at::equal(flat.values(), values));
  EXPECT_TRUE(at::equal(optimizer.state()[0].flat, exp_avg));
  EXPECT_EQ(optimizer.num_updates(), 1);
}

// Given the same gradients, masters go the way of fp32 parameters to the bit,
// and values are the masters rounded once.
TEST(AdamW, WithBfloat16ValuesUpdatesFp32Masters) {
  const at::Tensor initial = at::randn({6, 5});
  Parameter single = MakeParameter(initial, true);
  Parameter mixed = MakeParameter(initial, true);
  FlatParameters single_flat({&single});
  FlatParameters mixed_flat({&mixed}, {.compute_type = at::kBFloat16});
  AdamW single_optimizer(single_flat, OptimizerConfig());
  AdamW mixed_optimizer(mixed_flat, OptimizerConfig());
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = at::randn({6, 5});
    single.leaf.mutable_grad().copy_(gradient);
    mixed.leaf.mutable_grad().copy_(gradient);
    single_optimizer.Step(1e-3, at::full({1}, 2.0), at::zeros({1}));
    mixed_optimizer.Step(1e-3, at::full({1}, 2.0), at::zeros({1}));
  }
  EXPECT_EQ(mixed.leaf.scalar_type(), at::kBFloat16);
  EXPECT_EQ(mixed.leaf.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(mixed_flat.Masters(mixed_flat.pieces().at(0)),
                        single_flat.values()));
  EXPECT_TRUE(
      at::equal(mixed_flat.values(), single_flat.values().to(at::kBFloat16)));
}

}  // namespace
}  // namespace lextra
