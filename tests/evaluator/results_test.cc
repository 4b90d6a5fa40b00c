#include "evaluator/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/io/files.h"
#include "evaluator/results_subject.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<ResultRow> TwoRows() {
  ResultRow causal = {.protocol = NON_OVERLAPPING,
                      .mask = {},
                      .length = 128,
                      .nll = 1.25,
                      .perplexity = 3.5,
                      .bits_per_byte = 1.8,
                      .tokens = 4096,
                      .bytes = 4000,
                      .documents = 3,
                      .standard_error = 0.01,
                      .keys_per_token = 64.5,
                      .tokens_per_second = 1e4,
                      .peak_memory_bytes = 1 << 28};
  ResultRow bca = causal;
  bca.protocol = STREAMING;
  bca.mask = {.mask = {.kind = BCA, .block = 64},
              .rope_scaling = RopeScaling::YARN,
              .scaling_factor = 4};
  bca.standard_error = std::numeric_limits<double>::quiet_NaN();
  bca.perplexity = std::numeric_limits<double>::infinity();
  bca.by_place = {{2, 3, {.tokens = 2, .documents = 1, .nll = 1.5}}};
  return {causal, bca};
}

ResultsContext Context() {
  ResultsContext context;
  context.subject = "checkpoint a";
  context.config.mutable_model()->set_position_encoding(ROPE);
  context.config.mutable_model()->set_hidden_size(48);
  context.config.mutable_evaluation()->add_lengths(int64_t{1} << 40);
  context.config.mutable_evaluation()->set_block_size(64);
  context.checkpoint_path = "runs/a/step-00000002";
  context.checkpoint_step = 2;
  context.command = "lextra evaluate";
  context.versions = "lextra 0";
  context.date = "2026-01-02T03:04:05Z";
  return context;
}

TEST(Results, JsonHasEveryFieldAndNonFiniteNumbersAsText) {
  const nlohmann::json json =
      nlohmann::json::parse(ResultsJson({.rows = TwoRows()}, Context()));
  ASSERT_EQ(json["results"].size(), 2u);
  const nlohmann::json& causal = json["results"][0];
  EXPECT_EQ(causal["protocol"], "non_overlapping");
  EXPECT_EQ(causal["mask"], "causal");
  EXPECT_EQ(causal["length"], 128);
  EXPECT_EQ(causal["nll"], 1.25);
  EXPECT_EQ(causal["perplexity"], 3.5);
  EXPECT_EQ(causal["bits_per_byte"], 1.8);
  EXPECT_EQ(causal["tokens"], 4096);
  EXPECT_EQ(causal["documents"], 3);
  EXPECT_EQ(causal["standard_error"], 0.01);
  EXPECT_EQ(causal["keys_per_token"], 64.5);
  EXPECT_EQ(causal["tokens_per_second"], 1e4);
  EXPECT_EQ(causal["peak_memory_bytes"], 1 << 28);
  EXPECT_FALSE(causal.contains("block"));
  EXPECT_FALSE(causal.contains("by_place"));
  const nlohmann::json& bca = json["results"][1];
  EXPECT_EQ(bca["protocol"], "streaming");
  EXPECT_EQ(bca["mask"], "bca");
  EXPECT_EQ(bca["block"], 64);
  EXPECT_EQ(bca["extension"], "yarn");
  EXPECT_EQ(bca["extension_factor"], 4);
  EXPECT_FALSE(causal.contains("extension"));
  EXPECT_EQ(bca["standard_error"], "nan");
  EXPECT_EQ(bca["perplexity"], "inf");
  EXPECT_EQ(bca["by_place"][0]["nll"], 1.5);
  EXPECT_EQ(json["config"]["model"]["hidden_size"], 48);
  EXPECT_EQ(json["config"]["model"]["position_encoding"], "ROPE");
  EXPECT_EQ(json["config"]["evaluation"]["lengths"][0], int64_t{1} << 40);
  EXPECT_EQ(json["config"]["evaluation"]["block_size"], 64);
  EXPECT_EQ(json["checkpoint"]["step"], 2);
  EXPECT_EQ(json["subject"], "checkpoint a");
  EXPECT_EQ(causal["bytes"], 4000);
  for (const char* key : {"tokenizer", "data", "versions", "command", "date"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
}

TEST(Results, ARowThatAJournalHadAllOfHasNoRate) {
  std::vector<ResultRow> rows = {TwoRows()[0]};
  rows[0].tokens_per_second = std::nullopt;
  EXPECT_THAT(ResultLine(rows[0]), HasSubstr("3 documents, all from the jour"));
  const nlohmann::json json =
      nlohmann::json::parse(ResultsJson({.rows = rows}, Context()));
  EXPECT_FALSE(json["results"][0].contains("tokens_per_second"));
}

// What refuses `context`'s results in the place of another's; empty if nothing.
std::string Refusal(const std::string& folder, const ResultsContext& context) {
  const absl::Status status = CheckSubjectOfResults(
      folder, context.subject, context.config.evaluation());
  EXPECT_TRUE(status.ok() || ExitCodeOf(status) == ExitCode::kUsage);
  return std::string(status.message());
}

TEST(Results, OfAnotherSubjectAreRefusedByWhatIsAnother) {
  const testing::TemporaryFolder folder;
  ResultsContext context = Context();
  EXPECT_EQ(Refusal(folder.path(), context), "");
  ASSERT_TRUE(AtomicWrite(folder.path() + "/results.json",
                          ResultsJson({.rows = TwoRows()}, context))
                  .ok());
  EXPECT_EQ(Refusal(folder.path(), context), "");
  // Fields by the names that they had.
  std::string text = ReadFile(folder.path() + "/results.json", 1 << 20).value();
  const size_t name = text.find("\"block_size\"");
  ASSERT_NE(name, std::string::npos);
  text.insert(name, "\"every_steps\": 7, ");
  ASSERT_TRUE(AtomicWrite(folder.path() + "/results.json", text).ok());
  EXPECT_EQ(Refusal(folder.path(), context), "");
  // What changes no result.
  context.config.mutable_evaluation()->set_segment_tokens(128);
  context.config.mutable_evaluation()->set_validation_interval_steps(7);
  EXPECT_EQ(Refusal(folder.path(), context), "");
  context.config.mutable_evaluation()->set_max_tokens(99);
  EXPECT_THAT(Refusal(folder.path(), context),
              ::testing::AllOf(HasSubstr("evaluation.max_tokens: 0 -> 99"),
                               HasSubstr("choose another --results_dir")));
  context.subject = "checkpoint b";
  EXPECT_THAT(Refusal(folder.path(), context),
              HasSubstr("results of checkpoint a, but this evaluation is of "
                        "checkpoint b"));
  for (const char* text :
       {"", "{}", "[1]", "{\"subject\": \"checkpoint b\"}"}) {
    ASSERT_TRUE(AtomicWrite(folder.path() + "/results.json", text).ok());
    EXPECT_THAT(Refusal(folder.path(), context),
                HasSubstr("does not name its checkpoint"));
  }
}

}  // namespace
}  // namespace lextra
