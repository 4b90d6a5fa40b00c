#include "ops/gelu.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ops/matmul.h"

namespace lextra {
namespace {

at::Tensor Uniform(at::IntArrayRef shape, double range, at::ScalarType type) {
  return (at::rand(shape, at::kDouble) * 2 - 1).mul_(range).to(type);
}

at::Tensor Gelu64(const at::Tensor& x) { return at::gelu(x.to(at::kDouble)); }

double Largest(const at::Tensor& x) {
  return x.to(at::kDouble).abs().max().item<double>();
}

// From far left, where the integral is tiny, to far right.
at::Tensor EveryX(at::ScalarType type) {
  return at::linspace(-12, 12, 9600, at::kDouble).to(type).view({96, 100});
}

// gelu of x itself: the product with one, and the derivative.
GeluProduct GeluOf(const at::Tensor& x, bool with_gradient) {
  return GeluOfProduct(x, at::eye(x.size(1), x.options()), at::Tensor(),
                       with_gradient);
}

TEST(GeluProductTest, EqualsFp64WithinTwiceTheErrorOfATen) {
  const at::Tensor x = EveryX(at::kFloat);
  const at::Tensor expected = Gelu64(x);
  const double plain = Largest(at::gelu(x) - expected);
  EXPECT_LE(Largest(GeluOf(x, false).y - expected), 2 * plain);
  EXPECT_LE(Largest(GeluOf(x, true).y - expected), 2 * plain);
  // Far left numbers are tiny: relative to themselves, too.
  const auto relative = [&](const at::Tensor& y) {
    return Largest((y - expected) / (expected.abs() + 1e-4));
  };
  EXPECT_LE(relative(GeluOf(x, true).y), 2 * relative(at::gelu(x)));
}

TEST(GeluProductTest, DerivativeEqualsFp64WithinTwiceTheErrorOfATen) {
  const at::Tensor x = EveryX(at::kFloat);
  const at::Tensor dy = at::ones_like(x);
  const at::Tensor expected =
      at::gelu_backward(dy.to(at::kDouble), x.to(at::kDouble));
  const double plain = Largest(at::gelu_backward(dy, x) - expected);
  const at::Tensor made = GeluGradient(dy, GeluOf(x, true).saved, {});
  EXPECT_LE(Largest(made - expected), 2 * plain);
}

TEST(GeluProductTest, IsExactInFp64) {
  const at::Tensor x = EveryX(at::kDouble);
  const GeluProduct product = GeluOf(x, true);
  // One unit in the last place of numbers from 1 on, of 1 below.
  EXPECT_LE(Largest((product.y - Gelu64(x)) / x.abs().clamp_min(1)), 2.3e-16);
  const at::Tensor dy = at::ones_like(x);
  EXPECT_LE(
      Largest(GeluGradient(dy, product.saved, {}) - at::gelu_backward(dy, x)),
      1e-15);
}

TEST(GeluProductTest, ANaNStaysOneAndInfinityIsItsOwnGelu) {
  const at::Tensor x = at::tensor({NAN, INFINITY, 0.0F}).view({3, 1});
  const at::Tensor y = GeluOf(x, true).y;
  EXPECT_TRUE(std::isnan(y[0].item<float>()));
  EXPECT_EQ(y[1].item<float>(), INFINITY);
  EXPECT_EQ(y[2].item<float>(), 0);
}

// More rows than a block of sums, columns not a multiple of a vector's size.
TEST(GeluProductTest, EqualsProductThenGeluWithBiasAndItsGradient) {
  const at::Tensor a = Uniform({150, 7}, 1, at::kDouble);
  const at::Tensor b = Uniform({7, 37}, 1, at::kDouble);
  const at::Tensor bias = Uniform({37}, 1, at::kDouble);
  const at::Tensor dy = Uniform({150, 37}, 1, at::kDouble);
  const GeluProduct product = GeluOfProduct(a, b, bias, true);
  const at::Tensor h = at::addmm(bias, a, b);
  EXPECT_LE(Largest(product.y - at::gelu(h)), 1e-14);
  const at::Tensor dbias = at::ones({37}, at::kDouble);
  const at::Tensor dh = GeluGradient(dy, product.saved, dbias);
  const at::Tensor expected = at::gelu_backward(dy, h);
  EXPECT_LE(Largest(dh - expected), 1e-14);
  EXPECT_LE(Largest(dbias - 1 - expected.sum(0)), 1e-12);
}

// The same bits: what is recomputed must be what was.
TEST(GeluProductTest, WithoutGradientMakesTheSameAndSavesNothing) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor a = Uniform({97, 16}, 2, type);
    const at::Tensor b = Uniform({16, 64}, 1, type);
    const GeluProduct with = GeluOfProduct(a, b, {}, true);
    const GeluProduct without = GeluOfProduct(a, b, {}, false);
    EXPECT_TRUE(at::equal(with.y, without.y)) << type;
    EXPECT_FALSE(without.saved.defined());
  }
}

}  // namespace
}  // namespace lextra
