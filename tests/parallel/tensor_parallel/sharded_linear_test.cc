// Against at::linear on the whole tensors: fp64 to 1e-12, fp32 to 5e-6 of the
// largest element, which is the rounding of sums of about 30 products in
// another order.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/tensor_parallel/sharded_layers.h"
#include "tests/parallel/tensor_parallel/layer_fixture.h"

namespace lextra {
namespace {

class ShardedLinear : public testing::ShardedLayers {
 protected:
  // q with 24 heads of 1, and 12 heads for k and v: degrees 1 to 4 divide.
  ColumnParallelLinear Column(bool bias) {
    return ColumnParallelLinear(axis(), Outputs(), 18, bias, initializer());
  }
  static std::vector<ColumnParallelLinear::Output> Outputs() {
    return {{"q", 24}, {"k", 12}, {"v", 12}};
  }

  // The dense layers' outputs, each cut for this rank, side by side.
  at::Tensor DenseColumn(const at::Tensor& x, bool bias) {
    std::vector<at::Tensor> parts;
    for (const auto& [name, rows] : Outputs()) {
      parts.push_back(PartOf(
          at::linear(x, Dense(name + ".weight", {rows, 18}),
                     bias ? Dense(name + ".bias", {rows}) : at::Tensor())));
    }
    return at::cat(parts, -1);
  }

  // The sum over the ranks of what they make of their own outputs, which is a
  // loss of the whole layer.
  void ExpectColumnMatchesDense(
      const std::vector<int64_t>& leading, bool bias,
      ActivationLayout layout = ActivationLayout::kReplicated) {
    dense_.clear();
    std::vector<int64_t> shape = leading;
    shape.push_back(18);
    const at::Tensor whole_x = Random("x", shape);
    const at::Tensor x = TokensOf(whole_x, layout).clone().requires_grad_(true);
    ColumnParallelLinear layer = Column(bias);
    const at::Tensor y = layer(x, layout);
    const at::Tensor dy =
        Random("dy" + std::to_string(axis().rank()), y.sizes().vec());
    y.backward(dy);

    const at::Tensor dense_x = whole_x.clone().requires_grad_(true);
    const at::Tensor dense_y = DenseColumn(dense_x, bias);
    ExpectClose(y, dense_y, "output");
    dense_y.backward(dy);
    // This rank's rows of the dense gradients are complete; the input's is a
    // sum over the ranks' columns.
    const at::Tensor dense_dx = dense_x.grad();
    axis().AllReduce(dense_dx, ReduceOp::kSum);
    ExpectClose(x.grad(), TokensOf(dense_dx, layout), "gradient of x");
    EXPECT_EQ(layer.parameters().size(), bias ? 2u : 1u);
    for (const Parameter* parameter : layer.parameters()) {
      ExpectShardsOfDense(*parameter);
    }
  }
};

TEST_P(ShardedLinear, ColumnParallelMatchesDenseForwardAndBackward) {
  ExpectColumnMatchesDense({7}, /*bias=*/true);
}

TEST_P(ShardedLinear, ColumnParallelTakesAnyLeadingDimensions) {
  ExpectColumnMatchesDense({}, /*bias=*/true);
  ExpectColumnMatchesDense({2, 3, 5}, /*bias=*/false);
}

TEST_P(ShardedLinear, ColumnParallelTakesSplitTokens) {
  ExpectColumnMatchesDense({12}, /*bias=*/true, ActivationLayout::kSplit);
  ExpectColumnMatchesDense({12}, /*bias=*/false, ActivationLayout::kSplit);
}

TEST_P(ShardedLinear, ColumnParallelTakesAnInputWithoutGradient) {
  ColumnParallelLinear layer = Column(/*bias=*/true);
  const at::Tensor x = Random("x", {7, 18});
  layer(x).sum().backward();
  DenseColumn(x, /*bias=*/true).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  for (const Parameter* parameter : layer.parameters()) {
    ExpectShardsOfDense(*parameter);
  }
}

TEST_P(ShardedLinear, GradientsOfTwoPassesAddUp) {
  ColumnParallelLinear layer = Column(/*bias=*/true);
  const at::Tensor x = Random("x", {7, 18});
  for (int pass = 0; pass < 2; ++pass) layer(x).sum().backward();
  DenseColumn(x, /*bias=*/true).mul(2).sum().backward();
  for (const Parameter* parameter : layer.parameters()) {
    ExpectShardsOfDense(*parameter);
  }
}

TEST_P(ShardedLinear, RowParallelMatchesDenseForwardAndBackward) {
  for (const ActivationLayout layout :
       {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
    for (const bool bias : {true, false}) {
      dense_.clear();
      RowParallelLinear layer(axis(), "out", 10, 24, bias, initializer());
      const at::Tensor whole_x = Random("x", {2, 6, 24}).requires_grad_(true);
      const at::Tensor dense_y =
          at::linear(whole_x, Dense("out.weight", {10, 24}),
                     bias ? Dense("out.bias", {10}) : at::Tensor());
      const at::Tensor dy = Random("dy", {2, 6, 10});
      dense_y.backward(dy);

      const at::Tensor x =
          PartOf(whole_x.detach()).clone().requires_grad_(true);
      const at::Tensor y = layer(x, layout);
      ExpectClose(y, TokensOf(dense_y, layout), "output");
      y.backward(TokensOf(dy, layout));
      ExpectClose(x.grad(), PartOf(whole_x.grad()), "gradient of x");
      for (const Parameter* parameter : layer.parameters()) {
        ExpectShardsOfDense(*parameter, layout);
      }
    }
  }
}

TEST_P(ShardedLinear, ColumnWithGeluThenRowIsADenseFeedForward) {
  for (const ActivationLayout layout :
       {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
    dense_.clear();
    ColumnParallelLinear up(axis(), {{"up", 36}}, 18, true, initializer());
    RowParallelLinear down(axis(), "down", 18, 36, true, initializer());
    const at::Tensor dense_x = Random("x", {12, 18}).requires_grad_(true);
    const at::Tensor x =
        TokensOf(dense_x.detach(), layout).clone().requires_grad_(true);
    const at::Tensor y = down(up.Gelu(x, layout), layout);
    const at::Tensor dense_y =
        at::linear(at::gelu(at::linear(dense_x, Dense("up.weight", {36, 18}),
                                       Dense("up.bias", {36}))),
                   Dense("down.weight", {18, 36}), Dense("down.bias", {18}));
    ExpectClose(y, TokensOf(dense_y, layout), "output");
    const at::Tensor dy = Random("dy", {12, 18});
    y.backward(TokensOf(dy, layout));
    dense_y.backward(dy);
    ExpectClose(x.grad(), TokensOf(dense_x.grad(), layout), "gradient of x");
    for (Parameter* parameter : up.parameters()) {
      ExpectShardsOfDense(*parameter, layout);
    }
    for (Parameter* parameter : down.parameters()) {
      ExpectShardsOfDense(*parameter, layout);
    }
  }
}

TEST_P(ShardedLinear, MatricesDecayAndBiasesDoNot) {
  for (const Parameter* parameter : Column(/*bias=*/true).parameters()) {
    EXPECT_EQ(parameter->weight_decay, parameter->leaf.dim() == 2);
    EXPECT_TRUE(parameter->tensor_sharded);
  }
  RowParallelLinear row(axis(), "out", 10, 24, true, initializer());
  EXPECT_TRUE(row.parameters()[0]->weight_decay);
  EXPECT_TRUE(row.parameters()[0]->tensor_sharded);
  EXPECT_FALSE(row.parameters()[1]->weight_decay);
  EXPECT_FALSE(row.parameters()[1]->tensor_sharded);
}

TEST_P(ShardedLinear, RefusesSizesThatDoNotDivide) {
  if (axis().size() == 1) GTEST_SKIP() << "one rank divides everything";
  EXPECT_THROW(
      ColumnParallelLinear(axis(), {{"q", 25}}, 18, false, initializer()),
      c10::Error);
  EXPECT_THROW(RowParallelLinear(axis(), "out", 10, 25, false, initializer()),
               c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ShardedLinear,
                         ::testing::Values(at::kDouble, at::kFloat));

}  // namespace
}  // namespace lextra
