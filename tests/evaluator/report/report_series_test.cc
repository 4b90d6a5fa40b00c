#include "evaluator/report/report_series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/resolve.h"

namespace lextra {
namespace {

TEST(RunSettings, ASizeThatFollowsFromAnotherIsNoDifferenceOfItsOwn) {
  std::vector<MethodSettings> all;
  for (const int width : {32, 64}) {
    RunConfig config;
    config.mutable_model()->set_hidden_size(width);
    config.mutable_model()->set_num_heads(4);
    ASSERT_TRUE(Resolve(&config, Purpose::kEvaluate, 1).ok());
    all.push_back(
        {.method = "xPos", .settings = RunSettings(config, 7, "byte")});
    config.mutable_model()->set_ffn_hidden_size(100);
    all.push_back(
        {.method = "xPos", .settings = RunSettings(config, 7, "byte")});
  }
  EXPECT_THAT(
      DifferenceTexts(all),
      ::testing::ElementsAre("hidden_size 32, ffn_hidden_size 4 * hidden_size",
                             "hidden_size 32, ffn_hidden_size 100",
                             "hidden_size 64, ffn_hidden_size 4 * hidden_size",
                             "hidden_size 64, ffn_hidden_size 100"));
}

TEST(DifferenceTexts, LeaveOutWhatMostOfTheLinesHave) {
  const auto line = [](const char* method, const char* scale,
                       const char* gamma) {
    return MethodSettings{.method = method,
                          .settings = {{"scale", scale}, {"gamma", gamma}}};
  };
  EXPECT_THAT(
      DifferenceTexts({line("xPos", "1", "0.4"), line("xPos", "1", "0.2"),
                       line("RoPE", "1", ""), line("sinusoidal", "50", "")}),
      ::testing::ElementsAre("gamma 0.4", "gamma 0.2", "", "scale 50"));
  // No value is that of most.
  EXPECT_THAT(DifferenceTexts({line("xPos", "1", ""), line("RoPE", "2", "")}),
              ::testing::ElementsAre("scale 1", "scale 2"));
}

}  // namespace
}  // namespace lextra
