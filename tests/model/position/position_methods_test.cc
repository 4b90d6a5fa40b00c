// ALiBi, and what an evaluation may do to the angles of rotary positions.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "model/position/position_encoding.h"
#include "ops/attention_part.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::CausalMask;
using testing::Golden;
using testing::HeadsConfig;
using testing::MaxDifference;
using testing::Session;

// fp64, 1e-15.
TEST(Alibi, SlopesAreTheGoldenOnes) {
  const NamedTensors golden = Golden("alibi_slopes");
  for (int heads = 1; heads <= 16; ++heads) {
    const auto alibi =
        MakePositionEncoding(HeadsConfig(heads, heads, 8, ALIBI, FP64), 0);
    EXPECT_LT(MaxDifference(alibi->ScoreBias({}, {}).slopes_H,
                            golden.at(absl::StrFormat("slopes_H%02d", heads))),
              1e-15)
        << heads;
  }
}

// fp64 against values stored in fp32, 1e-6.
TEST(Alibi, AttentionIsTheGoldenOne) {
  const NamedTensors golden = Golden("alibi_attention_H12");
  const auto heads_last = [&](const char* name) {
    return golden.at(name).to(at::kDouble).transpose(0, 1).unsqueeze(0);
  };
  const auto alibi =
      MakePositionEncoding(HeadsConfig(12, 12, 8, ALIBI, FP64), 0);
  const AttentionPart part =
      Attend(heads_last("q"), heads_last("k"), heads_last("v"), true,
             alibi->ScoreBias({}, {}));
  EXPECT_LT(MaxDifference(part.out_BTHD, heads_last("out")), 1e-6);
  const at::Tensor lse =
      golden.at("scores")
          .to(at::kDouble)
          .masked_fill(CausalMask(19).logical_not(),
                       -std::numeric_limits<double>::infinity())
          .logsumexp(2);
  EXPECT_LT(MaxDifference(part.lse_BTH, lse.t().unsqueeze(0)), 1e-5);
}

TEST(Alibi, EachTensorRankHasTheSlopesOfItsOwnHeads) {
  const ModelConfig model = HeadsConfig(12, 12, 8, ALIBI, FP32);
  const std::unique_ptr<Communicator> axis = Session().World();
  const int64_t heads = 12 / axis->size();
  EXPECT_EQ(
      MaxDifference(
          MakePositionEncoding(model, 0, axis.get())
              ->ScoreBias({}, {})
              .slopes_H,
          MakePositionEncoding(model, 0)->ScoreBias({}, {}).slopes_H.narrow(
              0, axis->rank() * heads, heads)),
      0);
}

// One query and one key of ones, their score at distance n.
double Score(const PositionEncoding& positions, int64_t head_dim, int64_t n) {
  const at::Tensor one = at::ones({1, 1, 1, head_dim}, at::kDouble);
  const at::Tensor q = at::empty_like(one);
  const at::Tensor k = at::empty_like(one);
  positions.Rotate(AttentionRole::kQuery, one, q, n);
  positions.Rotate(AttentionRole::kKey, one, k, 0);
  return (q * k).sum().item<double>();
}

constexpr int64_t kHeadSize = 16;
constexpr int64_t kTrained = 1000;
constexpr double kFactor = 4;

ModelConfig Rotary(PositionMethod method) {
  ModelConfig model = HeadsConfig(1, 1, kHeadSize, method, FP64);
  model.set_training_length(kTrained);
  return model;
}

// By its definition: the sum over pairs of 2 cos(n angle_i) factor_i^n.
double Expected(const std::vector<double>& angles,
                const std::vector<double>& log_factors, double n) {
  double sum = 0;
  for (size_t i = 0; i < angles.size(); ++i) {
    sum += 2 * std::cos(n * angles[i]) * std::exp(n * log_factors[i]);
  }
  return sum;
}

double Theta(int i) { return std::pow(10000.0, -i / 8.0); }

std::vector<double> XposLogFactors() {
  std::vector<double> log_factors;
  for (int i = 0; i < 8; ++i) {
    log_factors.push_back(std::log((i / 8.0 + 0.4) / 1.4) / 512);
  }
  return log_factors;
}

// Scores in fp64, 1e-11.
TEST(AngleScaling, InterpolationPutsPositionsBetweenThoseOfTraining) {
  const auto plain = MakePositionEncoding(Rotary(ROPE), 0);
  const auto stretched =
      MakePositionEncoding(Rotary(ROPE), 0, nullptr,
                           {.method = RopeScaling::LINEAR, .factor = kFactor});
  for (const int64_t n : {1, 7, 300}) {
    EXPECT_NEAR(Score(*stretched, kHeadSize, 4 * n),
                Score(*plain, kHeadSize, n), 1e-11);
  }
}

TEST(AngleScaling, XposSaysWhetherItsExponentIsStretchedToo) {
  std::vector<double> angles;
  std::vector<double> half = XposLogFactors();
  for (int i = 0; i < 8; ++i) {
    angles.push_back(Theta(i) / kFactor);
    half[i] /= kFactor;
  }
  for (const bool scales : {false, true}) {
    const auto xpos = MakePositionEncoding(Rotary(XPOS), 0, nullptr,
                                           {.method = RopeScaling::LINEAR,
                                            .factor = kFactor,
                                            .scales_exponent = scales});
    EXPECT_NEAR(Score(*xpos, kHeadSize, 900),
                Expected(angles, scales ? half : XposLogFactors(), 900), 1e-10);
  }
}

TEST(AngleScaling, NtkDividesTheSlowestAngleByTheFactorAndKeepsTheFastest) {
  const double base = 10000 * std::pow(kFactor, kHeadSize / (kHeadSize - 2.0));
  std::vector<double> angles;
  for (int i = 0; i < 8; ++i) angles.push_back(std::pow(base, -i / 8.0));
  EXPECT_DOUBLE_EQ(angles[0], Theta(0));
  EXPECT_NEAR(angles[7], Theta(7) / kFactor, 1e-12);
  const auto ntk =
      MakePositionEncoding(Rotary(ROPE), 0, nullptr,
                           {.method = RopeScaling::NTK, .factor = kFactor});
  for (const int64_t n : {1, 50, 3000}) {
    EXPECT_NEAR(Score(*ntk, kHeadSize, n),
                Expected(angles, std::vector<double>(8, 0.0), n), 1e-10);
  }
}

TEST(AngleScaling, YarnKeepsFastAnglesDividesSlowOnesAndWarmsScores) {
  std::vector<double> angles;
  for (int i = 0; i < 8; ++i) {
    const double turns = kTrained * Theta(i) / (2 * std::numbers::pi);
    const double kept = turns >= 32 ? 1 : turns <= 1 ? 0 : (turns - 1) / 31;
    angles.push_back(kept * Theta(i) + (1 - kept) * Theta(i) / kFactor);
  }
  EXPECT_EQ(angles[0], Theta(0));
  EXPECT_EQ(angles[7], Theta(7) / kFactor);
  const auto yarn =
      MakePositionEncoding(Rotary(ROPE), 0, nullptr,
                           {.method = RopeScaling::YARN, .factor = kFactor});
  const double warmth = std::pow(0.1 * std::log(kFactor) + 1, 2);
  for (const int64_t n : {0, 3, 500}) {
    EXPECT_NEAR(Score(*yarn, kHeadSize, n),
                warmth * Expected(angles, std::vector<double>(8, 0.0), n),
                1e-10);
  }
}

TEST(AngleScaling, AFactorOfOneChangesNothing) {
  for (const RopeScaling::Type method :
       {RopeScaling::LINEAR, RopeScaling::NTK, RopeScaling::YARN}) {
    const auto plain = MakePositionEncoding(Rotary(XPOS), 0);
    const auto same = MakePositionEncoding(
        Rotary(XPOS), 0, nullptr,
        {.method = method, .factor = 1, .scales_exponent = true});
    EXPECT_EQ(Score(*same, kHeadSize, 77), Score(*plain, kHeadSize, 77));
  }
}

}  // namespace
}  // namespace lextra
