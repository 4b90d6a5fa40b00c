#include "evaluator/scoring/evaluated_mask.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::ElementsAre;

EvaluationConfig Config() {
  EvaluationConfig config;
  config.add_masks(CAUSAL);
  config.add_masks(BCA);
  config.add_rope_scaling(RopeScaling::NONE);
  config.add_rope_scaling(RopeScaling::YARN);
  config.set_block_size(64);
  config.set_segment_tokens(256);
  config.set_scale_xpos_exponent(true);
  return config;
}

ModelConfig Model(PositionMethod method) {
  ModelConfig model;
  model.set_position_encoding(method);
  model.set_training_length(128);
  return model;
}

std::vector<std::string> TextsOf(PositionMethod method) {
  std::vector<std::string> texts;
  for (const EvaluatedMask& mask : MasksOf(Config(), Model(method))) {
    texts.push_back(mask.Text());
  }
  return texts;
}

TEST(MasksOf, AreEveryMaskWithEveryScaling) {
  EXPECT_THAT(TextsOf(ROPE), ElementsAre("causal", "causal + YaRN", "BCA 64",
                                         "BCA 64 + YaRN"));
  EXPECT_THAT(TextsOf(XPOS),
              ElementsAre("causal", "causal + YaRN with exponent", "BCA 64",
                          "BCA 64 + YaRN with exponent"));
}

TEST(ForPlaces, ScalesByWhatAQueryCanSee) {
  const std::vector<EvaluatedMask> masks = MasksOf(Config(), Model(ROPE));
  const auto factor = [&](size_t mask, int64_t places) {
    return masks[mask].ForPlaces(places, Model(ROPE)).scaling_factor;
  };
  EXPECT_EQ(factor(0, 512), 1) << "without scaling";
  EXPECT_EQ(factor(1, 512), 4);
  EXPECT_EQ(factor(1, 64), 0.5);
  EXPECT_EQ(factor(3, 512), 1) << "BCA shows no more than training did";
  EXPECT_TRUE(masks[1].ForPlaces(512, Model(ROPE)).is_distinct());
  EXPECT_FALSE(masks[1].ForPlaces(128, Model(ROPE)).is_distinct());
  EXPECT_FALSE(masks[3].ForPlaces(512, Model(ROPE)).is_distinct());
  EXPECT_TRUE(masks[0].ForPlaces(512, Model(ROPE)).is_distinct());
}

TEST(ScorerOptions, AreThoseOfTheMaskAndItsScaling) {
  const EvaluatedMask mask =
      MasksOf(Config(), Model(XPOS))[1].ForPlaces(512, Model(XPOS));
  const LongDocumentScorer::Options options = ScorerOptions(mask, Config());
  EXPECT_EQ(options.mask, DocumentMask());
  EXPECT_EQ(options.segment_tokens, 256);
  EXPECT_EQ(options.angle_scaling.method, RopeScaling::YARN);
  EXPECT_EQ(options.angle_scaling.factor, 4);
  EXPECT_TRUE(options.angle_scaling.scales_exponent);
}

TEST(Names, AreThoseOfFiles) {
  EXPECT_EQ(ProtocolName(SAME_TARGETS), "same_targets");
  EXPECT_EQ(MaskName(WINDOW_AND_SINKS), "window_and_sinks");
  EXPECT_EQ(RopeScalingName(RopeScaling::LINEAR), "linear");
}

}  // namespace
}  // namespace lextra
