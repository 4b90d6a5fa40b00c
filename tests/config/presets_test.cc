#include "config/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/fields.h"
#include "config/load.h"
#include "config/resolve.h"

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Presets, AreTheFourOfTheProject) {
  std::vector<std::string> names;
  for (const Preset& preset : Presets()) names.push_back(preset.name);
  EXPECT_THAT(names,
              ElementsAre("lex_124m", "lex_1b3", "lex_355m", "quickstart"));
}

TEST(Presets, AreCompleteButForTheDataAndTheRun) {
  for (const Preset& preset : Presets()) {
    EXPECT_THAT(preset.text, StartsWith("# proto-file: config/run.proto\n"
                                        "# proto-message: lextra.RunConfig\n"));
    const absl::StatusOr<RunConfig> loaded = LoadRunConfig(preset.name, {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    for (const ConfigField& field : ConfigFields()) {
      if (field.name() == "data.train" || field.name() == "data.validation" ||
          field.name() == "checkpoint.run_id") {
        continue;
      }
      const google::protobuf::Message& section =
          loaded->GetReflection()->GetMessage(*loaded, field.section);
      const google::protobuf::Reflection& reflection = *section.GetReflection();
      EXPECT_TRUE(field.field->is_repeated()
                      ? reflection.FieldSize(section, field.field) > 0
                      : reflection.HasField(section, field.field))
          << preset.name << " leaves out " << field.name();
    }
  }
}

TEST(Presets, ResolveAtManyLayouts) {
  for (const Preset& preset : Presets()) {
    for (const int tensor : {1, 2, 4}) {
      for (const int data : {1, 2, 8}) {
        RunConfig config =
            LoadRunConfig(
                preset.name,
                {"data.train=t", "data.validation=v", "model.vocab_size=50257",
                 "parallel.tensor=" + std::to_string(tensor)})
                .value();
        EXPECT_EQ(Resolve(&config, Purpose::kTrain, data * tensor),
                  absl::OkStatus())
            << preset.name;
        config.mutable_parallel()->set_data(0);
        EXPECT_EQ(Resolve(&config, Purpose::kEvaluate, data * tensor),
                  absl::OkStatus())
            << preset.name;
      }
    }
  }
}

TEST(Presets, Lex355mIsThePapersModel) {
  RunConfig config =
      LoadRunConfig("lex_355m", {"data.train=t", "data.validation=v"}).value();
  ASSERT_EQ(Resolve(&config, Purpose::kTrain, 8), absl::OkStatus());
  EXPECT_EQ(config.model().num_layers(), 24);
  EXPECT_EQ(config.model().hidden_size(), 1024);
  EXPECT_EQ(config.model().num_heads(), 16);
  EXPECT_EQ(config.model().training_length(), 1024);
  EXPECT_EQ(
      config.data().global_batch_size() * config.model().training_length(),
      1 << 19);
  EXPECT_EQ(config.schedule().learning_rate(), 3e-4);
  EXPECT_EQ(config.optimizer().beta1(), 0.9);
  EXPECT_EQ(config.optimizer().beta2(), 0.98);
  EXPECT_EQ(config.optimizer().epsilon(), 1e-6);
  EXPECT_EQ(config.evaluation().block_size(), 512);
}

TEST(Presets, TakeOverrides) {
  const absl::StatusOr<RunConfig> config =
      LoadRunConfig("quickstart", {"model.hidden_size=64"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model().hidden_size(), 64);
  EXPECT_THAT(LoadRunConfig("quickstart", {"model.x=1"}).status().message(),
              HasSubstr("no field \"x\""));
}

}  // namespace
}  // namespace lextra
