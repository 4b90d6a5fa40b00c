#include "model/recomputation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

struct Gradients {
  at::Tensor output, dx, dweight;
};

// tanh(x W) twice over: the second part's input comes from the first.
Gradients RunTwoParts(bool recompute, int* num_calls) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({5, 4}, at::kDouble).requires_grad_(true);
  const at::Tensor weight = at::randn({4, 4}, at::kDouble).requires_grad_(true);
  const auto part = [&weight, num_calls](const at::Tensor& in) {
    ++*num_calls;
    return at::tanh(at::mm(in, weight));
  };
  const auto run = [&](const at::Tensor& in) {
    return recompute ? Recomputed(part, in) : part(in);
  };
  const at::Tensor output = run(run(x));
  (output * output).sum().backward();
  return {output.detach(), x.grad(), weight.grad()};
}

TEST(Recomputed, GivesTheSameBitsAndRunsThePartTwice) {
  int plain_calls = 0;
  int recomputed_calls = 0;
  const Gradients plain = RunTwoParts(false, &plain_calls);
  const Gradients recomputed = RunTwoParts(true, &recomputed_calls);
  EXPECT_TRUE(at::equal(plain.output, recomputed.output));
  EXPECT_TRUE(at::equal(plain.dx, recomputed.dx));
  EXPECT_TRUE(at::equal(plain.dweight, recomputed.dweight));
  EXPECT_EQ(plain_calls, 2);
  EXPECT_EQ(recomputed_calls, 4);
}

TEST(Recomputed, KeepsNothingThatThePartMakes) {
  const at::Tensor x = at::randn({3}).requires_grad_(true);
  at::Tensor inside;
  const at::Tensor output = Recomputed(
      [&](const at::Tensor& in) {
        inside = at::exp(in);
        return inside * inside;
      },
      x);
  // Alone in holding it: no graph does.
  EXPECT_EQ(inside.use_count(), 1);
  output.sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), 2 * at::exp(2 * x)));
}

TEST(Recomputed, WithoutGradientsRunsThePartOnce) {
  const at::NoGradGuard no_grad;
  int calls = 0;
  Recomputed(
      [&](const at::Tensor& in) {
        ++calls;
        return in + 1;
      },
      at::ones({2}));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace lextra
