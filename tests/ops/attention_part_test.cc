#include "ops/attention_part.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/vector_exp.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::CausalMask;
using testing::DenseAttention;
using testing::DenseResult;
using testing::MaxDifference;
using testing::Random;
using testing::RelativeDifference;

// Queries [B, T, H, D] over keys [B, S, K, D] taken out of packed tensors.
struct Case {
  int64_t batch, queries, keys, heads, kv_heads, head_dim;
  bool causal;
  bool biased;
  int64_t query_step = 1;
  int64_t key_step = 1;
};

constexpr Case kCases[] = {
    {2, 7, 7, 3, 3, 8, true, false},
    {1, 1, 1, 1, 1, 2, true, false},
    {2, 130, 130, 2, 1, 16, true, false},
    {1, 200, 70, 2, 2, 24, true, false},
    {3, 64, 64, 4, 2, 32, false, false},
    {1, 5, 190, 6, 2, 8, false, false},
    {2, 65, 33, 2, 2, 6, false, true},
    {1, 129, 129, 3, 1, 64, true, true},
    {1, 70, 90, 4, 2, 8, false, true, 0},
    {2, 66, 66, 2, 1, 8, true, true, -1, -1},
};

at::Tensor Visible(const Case& c) {
  const at::Tensor n = at::arange(std::max(c.queries, c.keys), at::kLong);
  const at::Tensor seen = c.causal
                              ? n.unsqueeze(0) <= n.unsqueeze(1)
                              : at::ones({n.size(0), n.size(0)}, at::kBool);
  return seen.narrow(0, 0, c.queries).narrow(1, 0, c.keys);
}

// Queries from 30 on, keys from 2 on.
DistanceBias BiasOf(const Case& c, at::ScalarType dtype) {
  if (!c.biased) return {};
  return {.slopes_H = Random({c.heads}, 3).abs().mul(0.1).to(dtype),
          .queries = {.first = 30, .step = c.query_step},
          .keys = {.first = 2, .step = c.key_step}};
}

// By its definition, one number at a time.
at::Tensor DenseBias(const Case& c, const DistanceBias& bias) {
  if (!c.biased) return {};
  const at::Tensor dense = at::empty({c.heads, c.queries, c.keys}, at::kDouble);
  auto entry = dense.accessor<double, 3>();
  for (int64_t h = 0; h < c.heads; ++h) {
    const auto slope = bias.slopes_H[h].to(at::kDouble).item<double>();
    for (int64_t t = 0; t < c.queries; ++t) {
      for (int64_t s = 0; s < c.keys; ++s) {
        const int64_t distance = (30 + t * c.query_step) - (2 + s * c.key_step);
        entry[h][t][s] = -slope * static_cast<double>(distance);
      }
    }
  }
  return dense;
}

// max |a - b| relative to the largest entry of b, or to 1 if that is smaller:
// one key gives gradients of exactly 0.
double Difference(const at::Tensor& a, const at::Tensor& b) {
  return MaxDifference(a, b) / std::max(1.0, b.abs().max().item<double>());
}

// Out, lse and gradients of a part against dense fp64 with autograd: fp64
// 1e-13, fp32 3e-6.
TEST(Attend, MatchesDenseForwardAndBackward) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(::testing::Message()
                   << c.queries << " x " << c.keys << " heads " << c.heads
                   << "/" << c.kv_heads << " of " << c.head_dim << dtype);
      const at::Tensor from_q =
          Random({c.batch, c.queries, c.heads + 3, c.head_dim}, 1).to(dtype);
      const at::Tensor from_kv =
          Random({c.batch, c.keys, 2 * c.kv_heads, c.head_dim}, 2).to(dtype);
      const at::Tensor q = from_q.narrow(2, 1, c.heads);
      const at::Tensor k = from_kv.narrow(2, 0, c.kv_heads);
      const at::Tensor v = from_kv.narrow(2, c.kv_heads, c.kv_heads);
      const DistanceBias bias = BiasOf(c, dtype);
      const at::Tensor dout =
          Random({c.batch, c.queries, c.heads, c.head_dim}, 4).to(dtype);

      const at::Tensor rq = q.to(at::kDouble).clone().requires_grad_(true);
      const at::Tensor rk = k.to(at::kDouble).clone().requires_grad_(true);
      const at::Tensor rv = v.to(at::kDouble).clone().requires_grad_(true);
      const DenseResult dense =
          DenseAttention(rq, rk, rv, Visible(c), DenseBias(c, bias));
      dense.out_BTHD.backward(dout.to(at::kDouble));

      const AttentionPart part = Attend(q, k, v, c.causal, bias);
      EXPECT_LE(Difference(part.out_BTHD, dense.out_BTHD.detach()),
                testing::kAttentionPart(dtype));
      EXPECT_LE(Difference(part.lse_BTH, dense.lse_BTH.detach()),
                testing::kAttentionPart(dtype));
      const at::Tensor dq = at::full_like(from_q, 0.5);
      const at::Tensor dkv = at::full_like(from_kv, 0.5);
      const at::Tensor dq_part = dq.narrow(2, 1, c.heads);
      const at::Tensor dk = dkv.narrow(2, 0, c.kv_heads);
      const at::Tensor dv = dkv.narrow(2, c.kv_heads, c.kv_heads);
      AttendBackward(dout, q, k, v, part, c.causal, bias, dq_part, dk, dv,
                     /*accumulate=*/false);
      EXPECT_LE(Difference(dq_part, rq.grad()), testing::kAttentionPart(dtype));
      EXPECT_LE(Difference(dk, rk.grad()), testing::kAttentionPart(dtype));
      EXPECT_LE(Difference(dv, rv.grad()), testing::kAttentionPart(dtype));
      EXPECT_TRUE((dq.narrow(2, 0, 1) == 0.5).all().item<bool>());

      AttendBackward(dout, q, k, v, part, c.causal, bias, dq_part, dk, dv,
                     /*accumulate=*/true);
      EXPECT_LE(Difference(dq_part, 2 * rq.grad()),
                testing::kAttentionPart(dtype));
      EXPECT_LE(Difference(dk, 2 * rk.grad()), testing::kAttentionPart(dtype));
      EXPECT_LE(Difference(dv, 2 * rv.grad()), testing::kAttentionPart(dtype));
    }
  }
}

// Attention over the union of keys, and its gradient from the merged result:
// fp64, 1e-13.
TEST(AttendMore, JoinsDisjointKeysExactly) {
  const at::Tensor q = Random({2, 40, 4, 8}, 1).requires_grad_(true);
  const at::Tensor k = Random({2, 100, 2, 8}, 2).requires_grad_(true);
  const at::Tensor v = Random({2, 100, 2, 8}, 3).requires_grad_(true);
  const at::Tensor dout = Random({2, 40, 4, 8}, 4);
  const DenseResult dense =
      DenseAttention(q, k, v, at::ones({40, 100}, at::kBool), {});
  dense.out_BTHD.backward(dout);
  const auto keys = [](const at::Tensor& x, int part) {
    return part == 0 ? x.detach().narrow(1, 0, 30)
                     : x.detach().narrow(1, 30, 70);
  };
  AttentionPart whole = {
      at::zeros({2, 40, 4, 8}, at::kDouble),
      at::full({2, 40, 4}, -std::numeric_limits<double>::infinity(),
               at::kDouble)};
  const at::Tensor dq = at::zeros_like(q).detach();
  const at::Tensor dk = at::zeros_like(k).detach();
  const at::Tensor dv = at::zeros_like(v).detach();
  for (const int part : {0, 1}) {
    AttendMore(whole, q.detach(), keys(k, part), keys(v, part), false, {});
  }
  for (const int part : {0, 1}) {
    AttendBackward(dout, q.detach(), keys(k, part), keys(v, part), whole, false,
                   {}, dq, keys(dk, part), keys(dv, part), true);
  }
  EXPECT_LE(RelativeDifference(whole.out_BTHD, dense.out_BTHD.detach()), 1e-13);
  EXPECT_LE(RelativeDifference(whole.lse_BTH, dense.lse_BTH.detach()), 1e-13);
  EXPECT_LE(RelativeDifference(dq, q.grad()), 1e-13);
  EXPECT_LE(RelativeDifference(dk, k.grad()), 1e-13);
  EXPECT_LE(RelativeDifference(dv, v.grad()), 1e-13);
}

// Scores of thousands neither overflow nor lose the softmax: fp32, 1e-5.
TEST(Attend, StandsLargeScores) {
  const at::Tensor q = (Random({1, 40, 1, 8}, 1) * 100).to(at::kFloat);
  const at::Tensor k = (Random({1, 40, 1, 8}, 2) * 100).to(at::kFloat);
  const at::Tensor v = Random({1, 40, 1, 8}, 3).to(at::kFloat);
  const DenseResult dense =
      DenseAttention(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble),
                     CausalMask(40), {});
  const AttentionPart part = Attend(q, k, v, true, {});
  EXPECT_LE(RelativeDifference(part.lse_BTH, dense.lse_BTH), 1e-6);
  EXPECT_TRUE(at::isfinite(part.out_BTHD).all().item<bool>());
}

TEST(Attend, ANanInOneKeyReachesOnlyTheQueriesThatSeeIt) {
  const at::Tensor q = at::randn({1, 70, 1, 8});
  const at::Tensor k = at::randn({1, 70, 1, 8});
  const at::Tensor v = at::randn({1, 70, 1, 8});
  k[0][66][0].fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor out = Attend(q, k, v, true, {}).out_BTHD;
  EXPECT_TRUE(at::isfinite(out.narrow(1, 0, 64)).all().item<bool>());
  EXPECT_TRUE(at::isnan(out.narrow(1, 66, 4)).all().item<bool>());
}

TEST(Attend, RefusesWhatItCannotRead) {
  const at::Tensor q = at::zeros({1, 4, 2, 8});
  const at::Tensor strided = at::zeros({1, 4, 2, 16}).slice(3, 0, 16, 2);
  EXPECT_THROW(Attend(strided, q, q, false, {}), c10::Error);
  EXPECT_THROW(Attend(q.narrow(1, 0, 2), q, q, true, {}), c10::Error);
  EXPECT_THROW(Attend(q, at::zeros({1, 4, 2, 6}), q, false, {}), c10::Error);
  EXPECT_THROW(Attend(q.narrow(2, 0, 1), q, q, false, {}), c10::Error);
}

template <typename Scalar>
double LargestRelativeError(double lowest) {
  double largest = 0;
  for (double x = lowest; x < 1; x += 0.00713) {
    const auto argument = static_cast<Scalar>(x);
    const double exact = std::exp(static_cast<double>(argument));
    const double got = static_cast<double>(Exponential(argument));
    largest = std::max(largest, std::abs(got / exact - 1));
  }
  return largest;
}

// Relative error of the vectorized e^x: 2e-7 in fp32, 1e-15 in fp64.
TEST(Exponential, IsAccurate) {
  EXPECT_LE(LargestRelativeError<float>(-86.5), 2e-7);
  EXPECT_LE(LargestRelativeError<double>(-700), 1e-15);
  EXPECT_EQ(Exponential(0.0f), 1.0f);
  EXPECT_LE(Exponential(-std::numeric_limits<float>::infinity()), 2e-38f);
  EXPECT_TRUE(std::isnan(Exponential(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace lextra
