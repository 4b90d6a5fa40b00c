#include "model/position/position_encoding.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::Golden;
using testing::MaxDifference;
using testing::RelativeDifference;

ModelConfig Config(PositionMethod method, int64_t head_dim,
                   Precision precision) {
  ModelConfig model;
  model.set_position_encoding(method);
  model.set_head_dim(head_dim);
  model.set_precision(precision);
  return model;
}

at::ScalarType DtypeOf(Precision precision) {
  return precision == FP64 ? at::kDouble : at::kFloat;
}

// x [L, D], one head of one row, rotated from `first` on.
at::Tensor Rotated(const PositionEncoding& positions, AttentionRole role,
                   const at::Tensor& x, int64_t first = 0) {
  const at::Tensor out = at::empty_like(x);
  positions.Rotate(role, x.unsqueeze(0).unsqueeze(2),
                   out.unsqueeze(0).unsqueeze(2), first);
  return out;
}

// Golden xPos scores: fp32 within 1e-5 of the largest score, fp64 within the
// rounding of the file, 5e-7.
TEST(XPos, ScoresMatchTorchscale) {
  for (const char* name : {"xpos_scores_L7_d8", "xpos_scores_L64_d8",
                           "xpos_scores_L64_d16", "xpos_scores_L64_d64"}) {
    for (const Precision precision : {FP32, FP64}) {
      const NamedTensors golden = Golden(name);
      const at::Tensor q = golden.at("q").to(DtypeOf(precision));
      const at::Tensor k = golden.at("k").to(DtypeOf(precision));
      const int64_t length = q.size(0);
      const int64_t head_dim = q.size(1);
      const auto positions =
          MakePositionEncoding(Config(XPOS, head_dim, precision), length / 2);
      const at::Tensor scores =
          at::mm(Rotated(*positions, AttentionRole::kQuery, q),
                 Rotated(*positions, AttentionRole::kKey, k).t()) /
          std::sqrt(static_cast<double>(head_dim));
      EXPECT_LE(RelativeDifference(scores.tril(), golden.at("scores")),
                precision == FP32 ? 1e-5 : 5e-7)
          << name;
    }
  }
}

// torchscale's origin is ceil(L / 2). fp64 against a file rounded to fp32.
TEST(XPos, RotatedQueriesAndKeysMatchTorchscale) {
  for (const char* name : {"xpos_scores_L7_d8", "xpos_scores_L64_d64"}) {
    const NamedTensors golden = Golden(name);
    const int64_t length = golden.at("q").size(0);
    const auto positions = MakePositionEncoding(
        Config(XPOS, golden.at("q").size(1), FP64), (length + 1) / 2);
    EXPECT_LE(RelativeDifference(Rotated(*positions, AttentionRole::kQuery,
                                         golden.at("q").to(at::kDouble)),
                                 golden.at("q_xpos")),
              5e-7)
        << name;
    EXPECT_LE(RelativeDifference(Rotated(*positions, AttentionRole::kKey,
                                         golden.at("k").to(at::kDouble)),
                                 golden.at("k_xpos")),
              5e-7)
        << name;
  }
}

// The pairs (1, 0) show the table itself: fp64, positions up to 100,000.
TEST(XPos, TablesMatchTheHighPrecisionOnes) {
  for (const char* name : {"xpos_tables_d8", "xpos_tables_d64"}) {
    const NamedTensors golden = Golden(name);
    const int64_t head_dim = 2 * golden.at("theta").size(0);
    const at::Tensor one = at::zeros({1, head_dim}, at::kDouble);
    one.slice(1, 0, head_dim, 2).fill_(1);
    const auto rope = MakePositionEncoding(Config(ROPE, head_dim, FP64), 0);
    for (int64_t i = 0; i < golden.at("pos").size(0); ++i) {
      const int64_t position = golden.at("pos")[i].item<int64_t>();
      if (position < 0 || position > 100000) continue;
      const at::Tensor turned =
          Rotated(*rope, AttentionRole::kQuery, one, position)[0];
      EXPECT_LE(
          MaxDifference(turned.slice(0, 0, head_dim, 2), golden.at("cos")[i]),
          1e-10)
          << name << " position " << position;
      EXPECT_LE(
          MaxDifference(turned.slice(0, 1, head_dim, 2), golden.at("sin")[i]),
          1e-10)
          << name << " position " << position;
    }
    for (int64_t i = 0; i < golden.at("p").size(0); ++i) {
      // A center moves the exponent, and position 0 does not turn.
      const int64_t exponent = golden.at("p")[i].item<int64_t>();
      const auto xpos =
          MakePositionEncoding(Config(XPOS, head_dim, FP64), -exponent);
      const at::Tensor scaled =
          Rotated(*xpos, AttentionRole::kQuery, one)[0].slice(0, 0, head_dim,
                                                              2);
      const at::Tensor inverse =
          Rotated(*xpos, AttentionRole::kKey, one)[0].slice(0, 0, head_dim, 2);
      EXPECT_LE(RelativeDifference(scaled, golden.at("scale")[i]), 1e-12);
      EXPECT_LE(RelativeDifference(inverse, 1 / golden.at("scale")[i]), 1e-12);
    }
  }
}

TEST(Rope, MatchesTheReference) {
  for (const char* name : {"rope_L24_d16", "rope_L12_d64"}) {
    for (const Precision precision : {FP32, FP64}) {
      const NamedTensors golden = Golden(name);
      const int64_t head_dim = golden.at("q").size(1);
      const auto positions =
          MakePositionEncoding(Config(ROPE, head_dim, precision), 0);
      for (int64_t t = 0; t < golden.at("positions").size(0); ++t) {
        const int64_t position = golden.at("positions")[t].item<int64_t>();
        const at::Tensor row =
            golden.at("q").narrow(0, t, 1).to(DtypeOf(precision));
        EXPECT_LE(RelativeDifference(
                      Rotated(*positions, AttentionRole::kQuery, row, position),
                      golden.at("q_interleaved").narrow(0, t, 1)),
                  precision == FP32 ? 1e-6 : 5e-7)
            << name << " position " << position;
      }
    }
  }
}

// gamma -> infinity makes every zeta 1: the same bits as RoPE.
TEST(Rope, EqualsXPosWithoutDecay) {
  ModelConfig endless = Config(XPOS, 16, FP64);
  endless.set_xpos_gamma(1e300);
  const auto xpos = MakePositionEncoding(endless, 5);
  const auto rope = MakePositionEncoding(Config(ROPE, 16, FP64), 0);
  const at::Tensor x = at::randn({33, 16}, at::kDouble);
  for (const AttentionRole role :
       {AttentionRole::kQuery, AttentionRole::kKey}) {
    EXPECT_TRUE(
        at::equal(Rotated(*xpos, role, x, 7), Rotated(*rope, role, x, 7)));
  }
}

// Dot products of rotated queries and keys depend on the distance only, at any
// center and first position: fp64, 1e-12.
TEST(XPos, ScoresDependOnTheDistanceOnly) {
  const at::Tensor q = at::randn({1, 32}, at::kDouble);
  const at::Tensor k = at::randn({1, 32}, at::kDouble);
  const auto score = [&](int64_t center, int64_t m, int64_t n) {
    const auto xpos = MakePositionEncoding(Config(XPOS, 32, FP64), center);
    return (Rotated(*xpos, AttentionRole::kQuery, q, m) *
            Rotated(*xpos, AttentionRole::kKey, k, n))
        .sum()
        .item<double>();
  };
  const double expected = score(0, 300, 200);
  EXPECT_NEAR(score(512, 300, 200), expected, 1e-12);
  EXPECT_NEAR(score(64, 100, 0), expected, 1e-12);
  EXPECT_NEAR(score(64, 1100, 1000), expected, 1e-12);
}

TEST(PositionEncoding, RotatesStridedTensorsInPlace) {
  for (const int64_t head_dim : {2, 6, 8, 24, 64}) {
    const auto xpos = MakePositionEncoding(Config(XPOS, head_dim, FP32), 3);
    const at::Tensor packed = at::randn({2, 5, 7, head_dim});
    const at::Tensor before = packed.clone();
    const at::Tensor part = packed.narrow(2, 1, 3);
    const at::Tensor expected = at::empty({2, 5, 3, head_dim});
    xpos->Rotate(AttentionRole::kKey, part, expected, 4);
    xpos->Rotate(AttentionRole::kKey, part, part, 4);
    EXPECT_TRUE(at::equal(part, expected));
    EXPECT_FALSE(at::equal(part, before.narrow(2, 1, 3)));
    EXPECT_TRUE(at::equal(packed.narrow(2, 0, 1), before.narrow(2, 0, 1)));
    EXPECT_TRUE(at::equal(packed.narrow(2, 4, 3), before.narrow(2, 4, 3)));
  }
}

// <a, R b> = <R^T a, b>: fp64, 1e-12.
TEST(PositionEncoding, TransposedIsTheAdjoint) {
  for (const PositionMethod method : {XPOS, ROPE, NONE}) {
    const auto positions = MakePositionEncoding(Config(method, 16, FP64), 2);
    for (const AttentionRole role :
         {AttentionRole::kQuery, AttentionRole::kKey}) {
      const at::Tensor a = at::randn({2, 9, 3, 16}, at::kDouble);
      const at::Tensor b = at::randn({2, 9, 3, 16}, at::kDouble);
      const at::Tensor rotated = at::empty_like(b);
      const at::Tensor transposed = at::empty_like(a);
      positions->Rotate(role, b, rotated, 11);
      positions->RotateTransposed(role, a, transposed, 11);
      EXPECT_NEAR((a * rotated).sum().item<double>(),
                  (transposed * b).sum().item<double>(), 1e-12);
    }
  }
}

// Far queries fade to exactly 0, with no denormal numbers on the way.
TEST(XPos, FactorsOfFarQueriesFadeToZero) {
  const auto xpos = MakePositionEncoding(Config(XPOS, 8, FP32), 0);
  const at::Tensor ones = at::ones({1, 8});
  const at::Tensor far =
      Rotated(*xpos, AttentionRole::kQuery, ones, int64_t{1} << 17);
  EXPECT_TRUE(at::isfinite(far).all().item<bool>());
  EXPECT_EQ(far[0][0].item<float>(), 0);
  EXPECT_NE(far[0][6].item<float>(), 0);
}

TEST(NoPosition, LeavesQueriesAndKeysAlone) {
  const auto none = MakePositionEncoding(Config(NONE, 8, FP32), 0);
  const at::Tensor x = at::randn({4, 8});
  EXPECT_TRUE(at::equal(Rotated(*none, AttentionRole::kQuery, x, 3), x));
  EXPECT_FALSE(none->ScoreBias({}, {}).slopes_H.defined());
}

TEST(PositionEncoding, RefusesAnotherHeadSizeOrPrecision) {
  const auto xpos = MakePositionEncoding(Config(XPOS, 8, FP32), 0);
  const at::Tensor wide = at::zeros({1, 1, 1, 16});
  const at::Tensor fine = at::zeros({1, 1, 1, 8}, at::kDouble);
  EXPECT_THROW(xpos->Rotate(AttentionRole::kKey, wide, wide, 0), c10::Error);
  EXPECT_THROW(xpos->Rotate(AttentionRole::kKey, fine, fine, 0), c10::Error);
}

}  // namespace
}  // namespace lextra
