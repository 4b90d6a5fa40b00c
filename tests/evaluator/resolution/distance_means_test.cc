#include "evaluator/resolution/distance_means.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::Golden;
using testing::GoldenPath;
using testing::MaxDifference;

nlohmann::json GoldenJson(const std::string& name) {
  std::ifstream file(GoldenPath(name));
  return nlohmann::json::parse(file);
}

constexpr int64_t kEndless = int64_t{1} << 40;

const char* const kFiles[] = {"attention_resolution_random_N16",
                              "attention_resolution_xpos_N48",
                              "attention_resolution_large_N24"};

// Adds a text's scores [H, N, N] in tiles of `tile` queries; with a block, of
// one block's queries and the keys from the block before it on.
void AddText(const at::Tensor& scores_HNN, int64_t tile, int64_t block,
             DistanceMeans* means) {
  const int64_t length = scores_HNN.size(1);
  for (int64_t begin = 0; begin < length;) {
    const int64_t end =
        std::min({begin + tile, length,
                  block > 0 ? (begin / block + 1) * block : length});
    const int64_t first_key =
        block > 0 ? std::max<int64_t>(0, (begin / block - 1) * block) : 0;
    means->Add(scores_HNN.narrow(1, begin, end - begin)
                   .narrow(2, first_key, end - first_key),
               begin, first_key, kEndless);
    begin = end;
  }
}

DistanceMeans MeansOf(const NamedTensors& golden, int64_t tile, int64_t block) {
  const at::Tensor scores = golden.at("scores").to(at::kDouble);
  DistanceMeans means(scores.size(1), scores.size(2));
  for (int64_t text = 0; text < scores.size(0); ++text) {
    AddText(scores[text], tile, block, &means);
  }
  return means;
}

// fp64, 1e-12.
TEST(DistanceMeans, AreTheGoldenOnesHoweverScoresAreCut) {
  for (const char* file : kFiles) {
    const NamedTensors golden = Golden(file);
    for (const int64_t tile : {1, 5, 64}) {
      SCOPED_TRACE(::testing::Message() << file << ", tiles of " << tile);
      const DistanceMeans means = MeansOf(golden, tile, 0);
      const at::Tensor s = MeanScores(means.sums(), means.counts());
      const double scale = golden.at("s_hat").abs().max().item<double>();
      EXPECT_LT(MaxDifference(s, golden.at("s_hat")), 1e-12 * (1 + scale));
      EXPECT_LT(MaxDifference(AttentionResolution(s), golden.at("R")), 1e-12);
      EXPECT_LT(MaxDifference(AttentionResolution(s).mean().view({1}),
                              golden.at("R_head_mean")),
                1e-12);
    }
  }
}

TEST(DistanceMeans, UnderBcaAreThoseOfVisiblePairs) {
  for (const char* file : kFiles) {
    SCOPED_TRACE(file);
    const NamedTensors golden = Golden(file);
    const auto block = golden.at("block").item<int64_t>();
    const DistanceMeans means = MeansOf(golden, 3, block);
    EXPECT_LT(MaxDifference(means.counts() / golden.at("scores").size(0),
                            golden.at("bca_count")),
              1e-12);
    const at::Tensor s = MeanScores(means.sums(), means.counts());
    const at::Tensor seen = golden.at("bca_count") > 0;
    EXPECT_LT(MaxDifference(s.masked_fill(~seen, 0), golden.at("bca_s_hat")),
              1e-10);
    EXPECT_LT(MaxDifference(AttentionResolution(s), golden.at("bca_R")), 1e-12);
  }
}

TEST(DistanceMeans, AWindowLeavesOutFarKeys) {
  const at::Tensor scores = at::arange(36, at::kDouble).view({1, 6, 6});
  DistanceMeans means(1, 6);
  means.Add(scores, 0, 0, 2);
  EXPECT_EQ(MaxDifference(means.counts(),
                          at::tensor({6., 5., 0., 0., 0., 0.}, at::kDouble)),
            0);
  const at::Tensor s = MeanScores(means.sums(), means.counts())[0];
  EXPECT_DOUBLE_EQ(s[0].item<double>(),
                   scores[0].diagonal(0).mean().item<double>());
  EXPECT_DOUBLE_EQ(s[1].item<double>(),
                   scores[0].diagonal(-1).mean().item<double>());
  EXPECT_TRUE(std::isinf(s[2].item<double>()));
}

TEST(AttentionResolution, IsTheGoldenOneOfPlainLists) {
  int count = 0;
  const nlohmann::json golden = GoldenJson("attention_resolution_vectors.json");
  for (const auto& vector : golden.at("cases")) {
    const auto s = vector["s"].get<std::vector<double>>();
    EXPECT_NEAR(AttentionResolution(at::tensor(s, at::kDouble)).item<double>(),
                vector["R"].get<double>(), 1e-12);
    ++count;
  }
  EXPECT_GT(count, 3);
}

TEST(AttentionResolution, IsAtMostOneAndHalfASumOfSquares) {
  at::manual_seed(1);
  for (const double scale : {0.1, 1., 10., 300.}) {
    const at::Tensor s = scale * at::randn({50, 40}, at::kDouble);
    const at::Tensor r = AttentionResolution(s);
    EXPECT_LE(r.max().item<double>(), 1 + 1e-12);
    EXPECT_GT(r.min().item<double>(), 0);
    const at::Tensor p = at::constant_pad_nd(s.softmax(1), {0, 1});
    const at::Tensor squares =
        p.select(1, 0).square() / 2 +
        (p.narrow(1, 0, 40) - p.narrow(1, 1, 40)).square().sum(1) / 2;
    EXPECT_LT(MaxDifference(r, squares), 1e-12);
    EXPECT_LT(MaxDifference(AttentionResolution(s + 7.5), r), 1e-12);
  }
}

// g_zeta[n] = sum_i cos(n theta_i) zeta_i^(n / decay_base), the scores of the
// theory (docs/method.md section 4); gamma = infinity is RoPE.
at::Tensor TheoryScores(int64_t head_dim, double gamma, double decay_base,
                        int64_t length) {
  const at::Tensor n = at::arange(length, at::kDouble);
  at::Tensor g = at::zeros({length}, at::kDouble);
  const int64_t pairs = head_dim / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(pairs);
    const double zeta =
        std::isinf(gamma) ? 1 : (fraction + gamma) / (1 + gamma);
    g += (n * std::pow(10000, -fraction)).cos() *
         (n / decay_base * std::log(zeta)).exp();
  }
  return g;
}

double Spread(const at::Tensor& g, int64_t begin, int64_t end) {
  return g.narrow(0, begin, end - begin).std(/*unbiased=*/false).item<double>();
}

// fp64; 1e-9 is what cosines of large angles allow.
TEST(AttentionResolution, HasTheGoldenValuesOfTheTheory) {
  int count = 0;
  const nlohmann::json golden = GoldenJson("attention_resolution_theory.json");
  for (const auto& row : golden.at("rows")) {
    const double gamma = row["gamma"].is_string()
                             ? std::numeric_limits<double>::infinity()
                             : row["gamma"].get<double>();
    const at::Tensor g = TheoryScores(row["d"], gamma, row["decay_base"], 8192);
    SCOPED_TRACE(row.dump());
    for (const auto& [length, expected] : row["R"].items()) {
      EXPECT_NEAR(AttentionResolution(g.narrow(0, 0, std::stoll(length)))
                      .item<double>(),
                  expected.get<double>(), 1e-9);
      ++count;
    }
    for (const auto& tail : row["tail"]) {
      EXPECT_NEAR(Spread(g, tail["start"], tail["stop"]),
                  tail["sd"].get<double>(), 1e-9);
    }
  }
  EXPECT_GT(count, 40);
}

// The figures that docs/method.md gives: d = 64, N = 1024, in four digits.
TEST(AttentionResolution, OrdersTheMethodsAsTheTheoryDoes) {
  const double rope = std::numeric_limits<double>::infinity();
  const std::pair<double, double> expected[] = {{rope, .4116}, {0.1, .4253},
                                                {0.2, .4232},  {0.4, .4207},
                                                {0.8, .4180},  {1.6, .4157}};
  for (const auto& [gamma, r] : expected) {
    EXPECT_NEAR(
        AttentionResolution(TheoryScores(64, gamma, 512, 1024)).item<double>(),
        r, 5e-5)
        << gamma;
  }
  const at::Tensor g_rope = TheoryScores(64, rope, 512, 8192);
  const at::Tensor g_xpos = TheoryScores(64, 0.4, 512, 8192);
  EXPECT_NEAR(Spread(g_rope, 1024, 2048), 2.95, 5e-3);
  EXPECT_NEAR(Spread(g_xpos, 1024, 2048), 0.71, 5e-3);
  EXPECT_NEAR(Spread(g_rope, 4096, 8192), 3.39, 5e-3);
  EXPECT_NEAR(Spread(g_xpos, 4096, 8192), 0.35, 5e-3);
}

}  // namespace
}  // namespace lextra
