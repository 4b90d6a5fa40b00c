#include "config/renamed_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "config/difference.h"
#include "config/fields.h"
#include "config/json.h"
#include "config/load.h"

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Every field and value that was renamed, as the last program with these names
// stored it.
constexpr char kStored[] = R"(model {
  num_layers: 2
  width: 48
  head_size: 12
  ffn_width: 96
  vocab_multiple: 64
  tied_output: false
  position: ROPE
}
data {
  train: "width: 3 } \"sequence\""
  global_batch: 12
  micro_batch: 3
}
optimizer {
  clip_norm: 0.5
  max_skipped_in_a_row: 4
  skip_z_score: 6.5
}
parallel {
  sequence: 1
  sequence_regions: true
  compare_replicas_every: 7
}
checkpoint {
  every_steps: 11
  every_seconds: 1.5
}
evaluation {
  masks: CAUSAL
  masks: SINKS
  every_steps: 13
  extensions: UNCHANGED
  extensions: INTERPOLATION
  extensions: YARN
  extend_xpos_exponent: true
}
logging {
  every_steps: 17
}
)";

constexpr char kNow[] = R"(model {
  num_layers: 2
  hidden_size: 48
  head_dim: 12
  ffn_hidden_size: 96
  pad_vocab_to_multiple_of: 64
  tie_word_embeddings: false
  position_encoding: ROPE
}
data {
  train: "width: 3 } \"sequence\""
  global_batch_size: 12
  micro_batch_size: 3
}
optimizer {
  max_grad_norm: 0.5
  max_consecutive_skips: 4
  spike_z_threshold: 6.5
}
parallel {
  context: 1
  sequence_parallel: true
  replica_check_interval_steps: 7
}
checkpoint {
  interval_steps: 11
  interval_seconds: 1.5
}
evaluation {
  masks: [CAUSAL, WINDOW_AND_SINKS]
  validation_interval_steps: 13
  rope_scaling: [NONE, LINEAR, YARN]
  scale_xpos_exponent: true
}
logging {
  interval_steps: 17
}
)";

TEST(RenamedFields, AStoredConfigurationIsTheSameRun) {
  const auto stored = ParseStoredRunConfig(kStored, "manifest");
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto now = ParseRunConfig(kNow, "now");
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_THAT(DifferingFields(*stored, *now), IsEmpty());
  EXPECT_THAT(DifferingFields(*stored, RunConfig()), Not(IsEmpty()));
}

TEST(RenamedFields, WhatIsStoredTodayIsReadAsItIs) {
  const RunConfig now = ParseRunConfig(kNow, "now").value();
  const auto again = ParseStoredRunConfig(RunConfigText(now), "manifest");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT(DifferingFields(*again, now), IsEmpty());
}

TEST(RenamedFields, AStoredJsonObjectIsTheSameRun) {
  const nlohmann::json json = nlohmann::json::parse(R"({
    "model": {"width": 48, "position": "ROPE"},
    "parallel": {"sequence": 2},
    "evaluation": {"masks": ["BCA", "SINKS"], "extensions": ["INTERPOLATION"],
                   "lengths": [1099511627776]}})");
  const auto config = ParseStoredRunConfigJson(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model().hidden_size(), 48);
  EXPECT_EQ(config->model().position_encoding(), ROPE);
  EXPECT_EQ(config->parallel().context(), 2);
  EXPECT_EQ(config->evaluation().masks(1), WINDOW_AND_SINKS);
  EXPECT_EQ(config->evaluation().rope_scaling(0), RopeScaling::LINEAR);
  EXPECT_EQ(config->evaluation().lengths(0), int64_t{1} << 40);
  const nlohmann::json now = RunConfigJson(*config);
  EXPECT_EQ(now["evaluation"]["lengths"][0], int64_t{1} << 40);
  EXPECT_THAT(DifferingFields(*config, ParseStoredRunConfigJson(now).value()),
              IsEmpty());
  EXPECT_THAT(std::string(ParseStoredRunConfigJson(
                              nlohmann::json::parse(R"({"model": {"x": 1}})"))
                              .status()
                              .message()),
              HasSubstr("its config: "));
}

TEST(RenamedFields, AUsersFileOrOverrideIsRefusedWithTheNewName) {
  EXPECT_THAT(
      std::string(ParseRunConfig("model {\n  width: 3\n}", "run.textproto")
                      .status()
                      .message()),
      AllOf(HasSubstr("run.textproto:2:8: "), HasSubstr("'width: 3'"),
            HasSubstr("renamed to model.hidden_size"),
            Not(HasSubstr("Did you mean"))));
  EXPECT_THAT(std::string(ParseRunConfig("evaluation { masks: SINKS }", "f")
                              .status()
                              .message()),
              HasSubstr("renamed to WINDOW_AND_SINKS"));
  RunConfig config;
  const auto refusal = [&](const std::string& text) {
    return std::string(ApplyOverrides({text}, &config).message());
  };
  EXPECT_THAT(refusal("parallel.sequence=2"),
              HasSubstr("renamed to parallel.context"));
  EXPECT_THAT(refusal("checkpoint.every_steps=2"),
              HasSubstr("renamed to checkpoint.interval_steps"));
  EXPECT_THAT(refusal("evaluation.every_steps=2"),
              HasSubstr("renamed to evaluation.validation_interval_steps"));
  EXPECT_THAT(refusal("evaluation.masks=[BCA, SINKS]"),
              HasSubstr("renamed to WINDOW_AND_SINKS"));
  EXPECT_THAT(refusal("evaluation.rope_scaling=[UNCHANGED]"),
              HasSubstr("renamed to NONE"));
  // The name of another section's field.
  EXPECT_THAT(refusal("model.clip_norm=2"), Not(HasSubstr("renamed")));
}

TEST(RenamedFields, TextThatIsNoTextFormatIsNotTouched) {
  const std::string text = "model { width: \"never closed }";
  EXPECT_EQ(TextWithNewNames(text), text);
  EXPECT_EQ(JsonWithNewNames("[1"), "[1");
}

TEST(RenamedFields, NoFieldHasAnOldName) {
  for (const ConfigField& field : ConfigFields()) {
    EXPECT_EQ(NewFieldName(field.section->name(), field.field->name()),
              std::nullopt)
        << field.name();
  }
}

}  // namespace
}  // namespace lextra
