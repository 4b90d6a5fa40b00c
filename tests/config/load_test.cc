#include "config/load.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "config/difference.h"

namespace lextra {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// The message of a UsageError; anything else fails the test.
std::string UsageMessage(const absl::Status& status) {
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
  return std::string(status.message());
}

std::string ParseError(const std::string& text) {
  return UsageMessage(ParseRunConfig(text, "run.textproto").status());
}

std::string OverrideError(const std::vector<std::string>& overrides) {
  RunConfig config;
  return UsageMessage(ApplyOverrides(overrides, &config));
}

TEST(ParseRunConfig, ReadsFieldsListsAndComments) {
  const absl::StatusOr<RunConfig> config = ParseRunConfig(
      "# a comment\n"
      "model { hidden_size: 256 position_encoding: ROPE }  # another\n"
      "evaluation { lengths: [128, 512] masks: BCA }\n",
      "run.textproto");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model().hidden_size(), 256);
  EXPECT_EQ(config->model().position_encoding(), ROPE);
  EXPECT_THAT(config->evaluation().lengths(), ElementsAre(128, 512));
  EXPECT_THAT(config->evaluation().masks(), ElementsAre(BCA));
  // Not given: absent, with the default of run.proto.
  EXPECT_FALSE(config->model().has_num_layers());
  EXPECT_EQ(config->model().num_layers(), 6);
}

TEST(ParseRunConfig, AnEmptyTextIsAllDefaults) {
  const absl::StatusOr<RunConfig> config = ParseRunConfig("", "empty");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(DifferingFields(*config, RunConfig()), IsEmpty());
}

TEST(ParseRunConfig, AnUnknownFieldIsNamedWithItsPlaceAndTheKnownOnes) {
  EXPECT_THAT(ParseError("model {\n  hiden_size: 3\n}\n"),
              AllOf(StartsWith("run.textproto:2:13: "),
                    HasSubstr("\"hiden_size\" in 'hiden_size: 3'. Did you"),
                    HasSubstr("Did you mean hidden_size?"),
                    HasSubstr("num_layers, hidden_size, num_heads"),
                    Not(HasSubstr("\n"))));
  EXPECT_THAT(
      ParseError("models { hidden_size: 3 }"),
      AllOf(StartsWith("run.textproto:1:8: "), HasSubstr("Did you mean model?"),
            HasSubstr("model, data, optimizer")));
}

TEST(ParseRunConfig, AWrongTypeIsNamedWithItsPlaceValueAndField) {
  EXPECT_THAT(
      ParseError("model {\n  hidden_size: \"abc\"\n}\n"),
      AllOf(StartsWith("run.textproto:2:16: "), HasSubstr("Expected integer"),
            HasSubstr("hidden_size: "), Not(HasSubstr("\n"))));
  EXPECT_THAT(ParseError("model { hidden_size: 1.5 }"),
              AllOf(HasSubstr("Expected integer"), HasSubstr("1.5")));
  EXPECT_THAT(ParseError("model { bias: perhaps }"),
              AllOf(StartsWith("run.textproto:1:"), HasSubstr("perhaps")));
  EXPECT_THAT(ParseError("model { init_seed: -1 }"),
              AllOf(StartsWith("run.textproto:1:"), HasSubstr("init_seed")));
  EXPECT_THAT(ParseError("model { hidden_size: 99999999999 }"),
              HasSubstr("99999999999"));
}

TEST(ParseRunConfig, AnUnknownEnumNameListsTheAllowedOnes) {
  EXPECT_THAT(
      ParseError("model { position_encoding: XPROS }"),
      AllOf(HasSubstr("XPROS"), HasSubstr("one of XPOS, ROPE, NONE, ALIBI")));
}

TEST(ParseRunConfig, AFieldOrSectionGivenTwiceIsRefused) {
  EXPECT_THAT(
      ParseError("model {\n  hidden_size: 1\n  hidden_size: 2\n}\n"),
      AllOf(StartsWith("run.textproto:3:"), HasSubstr("\"hidden_size\"")));
  EXPECT_THAT(ParseError("model { hidden_size: 1 }\nmodel { num_heads: 2 }\n"),
              AllOf(StartsWith("run.textproto:2:"), HasSubstr("\"model\"")));
}

TEST(ParseRunConfig, NonFiniteNumbersAreRefusedByName) {
  EXPECT_THAT(ParseError("model { hidden_size: 64 }\n"
                         "schedule {\n  learning_rate: nan\n}\n"),
              AllOf(StartsWith("run.textproto:3:3: schedule.learning_rate"),
                    HasSubstr("nan"), HasSubstr("finite")));
  EXPECT_THAT(ParseError("optimizer { max_grad_norm: inf }"),
              HasSubstr("optimizer.max_grad_norm"));
  EXPECT_THAT(ParseError("optimizer { max_grad_norm: -inf }"),
              HasSubstr("optimizer.max_grad_norm"));
  EXPECT_THAT(ParseError("optimizer { max_grad_norm: 1e999 }"),
              HasSubstr("optimizer.max_grad_norm"));
}

TEST(ParseRunConfig, BrokenTextIsRefused) {
  EXPECT_THAT(ParseError("model { hidden_size: 3"),
              StartsWith("run.textproto:1:"));
  EXPECT_THAT(ParseError(std::string("model\0{}", 8)),
              StartsWith("run.textproto:1:"));
  EXPECT_THAT(ParseError("\x7f\x45\x4c\x46\xff\xfe"),
              StartsWith("run.textproto:1:"));
}

TEST(ParseRunConfig, TextsThatCanBeNoPathAreRefused) {
  for (const std::string value :
       {"caf\\351", "caf\xe9", "a\\n", "a\\000b", "\\033[2J", "\x7f",
        "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
        "\xe0\x80\x80", "\xf8\x88\x80\x80\x80", "\x80"}) {
    EXPECT_THAT(ParseError("data { train: \"" + value + "\" }"),
                AllOf(StartsWith("run.textproto:1:8: data.train = "),
                      HasSubstr("a UTF-8 string without control characters")))
        << value;
  }
  for (const std::string value :
       {"caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a b",
        "\xf4\x8f\xbf\xbf", "\xee\x80\x80", "\xc2\x80"}) {
    EXPECT_TRUE(ParseRunConfig("data { train: \"" + value + "\" }", "x").ok())
        << value;
  }
}

TEST(ParseRunConfig, NestingEndsAtTheFirstLevelThatIsNotOurs) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "model {";
  EXPECT_THAT(ParseError(deep), HasSubstr("run.textproto:1:"));
}

TEST(ParseRunConfig, AWordOfOneMebibyteIsRefusedInBrief) {
  const std::string word((1 << 20) - 20, 'w');
  for (const std::string& text : {word, "model { " + word + ": 1 }"}) {
    const std::string message = ParseError(text);
    EXPECT_LT(message.size(), 5000u);
    EXPECT_THAT(message, AllOf(StartsWith("run.textproto:1:"),
                               HasSubstr("bytes omitted")));
  }
}

TEST(ParseRunConfig, ATextBeyondOneMebibyteIsRefused) {
  EXPECT_THAT(ParseError(std::string((1 << 20) + 1, ' ')),
              HasSubstr("1048577 bytes"));
  EXPECT_TRUE(ParseRunConfig(std::string(1 << 20, ' '), "blank").ok());
}

TEST(ApplyOverrides, SetsEveryKindOfField) {
  RunConfig config;
  const absl::Status status = ApplyOverrides(
      {"model.hidden_size=256", "schedule.num_steps=5000000000",
       "model.init_seed=18446744073709551615", "model.sub_ln=true",
       "schedule.learning_rate=3e-4", "model.position_encoding=ROPE",
       "data.train=my data/train=1", "data.validation=\"quoted\"",
       "evaluation.lengths=[128, 512]", "evaluation.masks=[BCA]",
       " model.num_heads = 8 "},
      &config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.model().hidden_size(), 256);
  EXPECT_EQ(config.schedule().num_steps(), 5000000000);
  EXPECT_EQ(config.model().init_seed(), UINT64_MAX);
  EXPECT_TRUE(config.model().sub_ln());
  EXPECT_EQ(config.schedule().learning_rate(), 3e-4);
  EXPECT_EQ(config.model().position_encoding(), ROPE);
  EXPECT_EQ(config.data().train(), "my data/train=1");
  EXPECT_EQ(config.data().validation(), "quoted");
  EXPECT_THAT(config.evaluation().lengths(), ElementsAre(128, 512));
  EXPECT_THAT(config.evaluation().masks(), ElementsAre(BCA));
  EXPECT_EQ(config.model().num_heads(), 8);
}

TEST(ApplyOverrides, AListReplacesTheFilesList) {
  RunConfig config;
  config.mutable_evaluation()->add_lengths(7);
  ASSERT_TRUE(ApplyOverrides({"evaluation.lengths=[1,2]"}, &config).ok());
  EXPECT_THAT(config.evaluation().lengths(), ElementsAre(1, 2));
  ASSERT_TRUE(ApplyOverrides({"evaluation.lengths=[ ]"}, &config).ok());
  EXPECT_THAT(config.evaluation().lengths(), IsEmpty());
}

TEST(ApplyOverrides, UnknownNamesListWhatExists) {
  EXPECT_THAT(OverrideError({"model.hiden_size=3"}),
              AllOf(StartsWith("\"model.hiden_size=3\": "),
                    HasSubstr("Did you mean hidden_size?"),
                    HasSubstr("num_layers, hidden_size")));
  EXPECT_THAT(OverrideError({"modle.hidden_size=3"}),
              AllOf(StartsWith("\"modle.hidden_size=3\": "),
                    HasSubstr("Did you mean model?")));
  EXPECT_THAT(OverrideError({"banana.hidden_size=3"}),
              AllOf(HasSubstr("model, data"), Not(HasSubstr("Did you mean"))));
}

TEST(ApplyOverrides, WrongTypesSayWhatIsExpected) {
  EXPECT_THAT(OverrideError({"model.hidden_size=abc"}),
              AllOf(StartsWith("\"model.hidden_size=abc\": "),
                    HasSubstr("expected an integer")));
  EXPECT_THAT(OverrideError({"model.hidden_size="}),
              HasSubstr("expected an integer"));
  EXPECT_THAT(OverrideError({"model.hidden_size=1 2"}),
              HasSubstr("expected an integer"));
  EXPECT_THAT(OverrideError({"model.hidden_size=3000000000"}),
              HasSubstr("an integer below 2^31"));
  EXPECT_THAT(OverrideError({"model.init_seed=-1"}),
              HasSubstr("non-negative integer"));
  EXPECT_THAT(OverrideError({"model.bias=perhaps"}),
              HasSubstr("true or false"));
  EXPECT_THAT(OverrideError({"model.position_encoding=CIRCLES"}),
              HasSubstr("one of XPOS, ROPE, NONE, ALIBI"));
  EXPECT_THAT(OverrideError({"evaluation.masks=[BCA, X]"}),
              HasSubstr("one of CAUSAL, BCA"));
  EXPECT_THAT(OverrideError({"evaluation.lengths=128"}),
              HasSubstr("a list like [a, b]"));
  EXPECT_THAT(OverrideError({"evaluation.lengths=[128,]"}),
              HasSubstr("a list like [a, b]"));
  for (const std::string value : {"nan", "inf", "-inf", "1e999"}) {
    EXPECT_THAT(OverrideError({"schedule.learning_rate=" + value}),
                AllOf(StartsWith("\"schedule.learning_rate=" + value),
                      HasSubstr("finite")));
  }
}

TEST(ApplyOverrides, WhatIsNoFieldAssignmentIsRefused) {
  EXPECT_THAT(OverrideError({"model.hidden_size"}),
              AllOf(StartsWith("\"model.hidden_size\": "),
                    HasSubstr("section.field=value")));
  EXPECT_THAT(OverrideError({"model=256"}),
              AllOf(HasSubstr("model is a section"), HasSubstr("hidden_size")));
  EXPECT_THAT(OverrideError({"model.hidden_size.x=256"}),
              HasSubstr("model.hidden_size is a field"));
  EXPECT_THAT(OverrideError({"=3"}), HasSubstr("no section"));
  EXPECT_THAT(OverrideError({"model.=3"}), HasSubstr("no field \"\""));
}

TEST(ApplyOverrides, TextsThatCanBeNoPathAreRefused) {
  EXPECT_THAT(OverrideError({"data.train=caf\xe9"}), HasSubstr("UTF-8"));
  EXPECT_THAT(OverrideError({"data.train=a\tb"}), HasSubstr("UTF-8"));
  EXPECT_THAT(OverrideError({"data.train=\"a\\000b\""}), HasSubstr("UTF-8"));
}

TEST(ApplyOverrides, TheSameFieldTwiceIsRefused) {
  EXPECT_THAT(OverrideError({"model.hidden_size=3", "model.hidden_size=4"}),
              AllOf(StartsWith("\"model.hidden_size=4\": "),
                    HasSubstr("duplicate field model.hidden_size")));
}

TEST(ApplyOverrides, AnErrorLeavesTheConfigurationAsItWas) {
  RunConfig config;
  EXPECT_FALSE(
      ApplyOverrides({"model.hidden_size=3", "model.bias=x"}, &config).ok());
  EXPECT_THAT(DifferingFields(config, RunConfig()), IsEmpty());
}

class LoadRunConfigTest : public ::testing::Test {
 protected:
  LoadRunConfigTest()
      : folder_(::testing::TempDir() + "/lextra-config-" +
                std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~LoadRunConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(LoadRunConfigTest, OverridesWinOverTheFileAndTheFileOverDefaults) {
  const std::string path = folder_ + "/run.textproto";
  std::ofstream(path) << "model { hidden_size: 64 num_heads: 2 }\n";
  const absl::StatusOr<RunConfig> config =
      LoadRunConfig(path, {"model.hidden_size=96"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model().hidden_size(), 96);
  EXPECT_EQ(config->model().num_heads(), 2);
  EXPECT_EQ(config->model().num_layers(), 6);
}

TEST_F(LoadRunConfigTest, ErrorsNameTheFile) {
  const std::string path = folder_ + "/run.textproto";
  std::ofstream(path) << "model { hiden_size: 64 }\n";
  EXPECT_THAT(UsageMessage(LoadRunConfig(path, {}).status()),
              StartsWith(path + ":1:"));
}

TEST_F(LoadRunConfigTest, AMissingFileIsAUsageErrorThatListsThePresets) {
  EXPECT_THAT(
      UsageMessage(LoadRunConfig(folder_ + "/none.textproto", {}).status()),
      AllOf(HasSubstr(folder_ + "/none.textproto"), HasSubstr("quickstart")));
  EXPECT_THAT(UsageMessage(LoadRunConfig("quikstart", {}).status()),
              AllOf(HasSubstr("quikstart"),
                    HasSubstr("lex_124m, lex_1b3, lex_355m, quickstart")));
  EXPECT_THAT(UsageMessage(LoadRunConfig(folder_, {}).status()),
              HasSubstr("not a regular file"));
  EXPECT_THAT(UsageMessage(LoadRunConfig("", {}).status()),
              StartsWith("configuration not given; expected"));
}

TEST_F(LoadRunConfigTest, AFileWinsOverAPresetOfItsName) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  std::filesystem::create_directory("lex_124m");  // a folder is no file
  std::ofstream("quickstart") << "model { hidden_size: 77 }\n";
  const absl::StatusOr<RunConfig> file = LoadRunConfig("quickstart", {});
  const absl::StatusOr<RunConfig> preset = LoadRunConfig("lex_124m", {});
  std::filesystem::current_path(before);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->model().hidden_size(), 77);
  ASSERT_TRUE(preset.ok()) << preset.status();
  EXPECT_EQ(preset->model().hidden_size(), 768);
}

TEST_F(LoadRunConfigTest, AFileBeyondOneMebibyteIsRefused) {
  const std::string path = folder_ + "/run.textproto";
  std::ofstream(path) << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(UsageMessage(LoadRunConfig(path, {}).status()), HasSubstr(path));
}

TEST(RunConfigText, HoldsEveryFieldAndParsesBackToTheSame) {
  RunConfig config;
  ASSERT_TRUE(ApplyOverrides({"schedule.learning_rate=0.1",
                              "model.norm_epsilon=1.0000000000000002",
                              "data.train=corpus/\xC3\xA4 \\\"x\"",
                              "evaluation.lengths=[1, 2]",
                              "model.init_seed=18446744073709551615"},
                             &config)
                  .ok());
  const std::string text = RunConfigText(config);
  EXPECT_THAT(text,
              AllOf(HasSubstr("  num_layers: 6\n"), HasSubstr("norm: LAYER"),
                    HasSubstr("interval_steps: 10"), HasSubstr("bias: true")));
  const absl::StatusOr<RunConfig> parsed = ParseRunConfig(text, "text");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(DifferingFields(config, *parsed), IsEmpty());
  EXPECT_EQ(parsed->data().train(), config.data().train());
  EXPECT_EQ(parsed->model().norm_epsilon(), config.model().norm_epsilon());
  // Once explicit, always the same bytes.
  EXPECT_EQ(RunConfigText(*parsed), text);
  EXPECT_TRUE(MessageDifferencer::Equals(
      *parsed, ParseRunConfig(RunConfigText(*parsed), "again").value()));
}

TEST(RunConfigTable, MarksWhatDiffersFromTheDefault) {
  RunConfig config;
  config.mutable_model()->set_hidden_size(64);
  config.mutable_model()->set_num_heads(6);  // the default, given explicitly
  const std::string table = RunConfigTable(config);
  EXPECT_THAT(table, HasSubstr("* model.hidden_size "));
  EXPECT_THAT(table, HasSubstr("  model.num_heads "));
  EXPECT_THAT(table, Not(HasSubstr("* model.num_heads ")));
  EXPECT_THAT(table, HasSubstr("  evaluation.masks "));
  EXPECT_THAT(table, EndsWith("\n"));
}

TEST(RunConfigTable, AlignsItsValues) {
  const std::string table = RunConfigTable(RunConfig());
  const size_t first = table.find("6\n") - table.find("  model.num_layers");
  const size_t second = table.find("192\n") - table.find("  model.hidden_size");
  EXPECT_EQ(first, second);
}

TEST(DifferingFields, NamesFieldAndBothValues) {
  RunConfig a;
  RunConfig b;
  a.mutable_model()->set_num_layers(6);  // equal to the default of b
  b.mutable_model()->set_hidden_size(64);
  b.mutable_model()->set_position_encoding(NONE);
  b.mutable_evaluation()->add_lengths(5);
  b.mutable_data()->set_train("x");
  EXPECT_THAT(DifferingFields(a, b),
              ElementsAre("model.hidden_size: 192 -> 64",
                          "model.position_encoding: XPOS -> NONE",
                          "data.train: \"\" -> \"x\"",
                          "evaluation.lengths: [] -> [5]"));
}

}  // namespace
}  // namespace lextra
