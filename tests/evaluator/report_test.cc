// What `lextra report` reads, merges and writes.
#include "evaluator/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "evaluator/paper_comparison.h"
#include "evaluator/report_data.h"
#include "evaluator/svg_chart.h"
#include "tests/evaluator/report_example.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using testing::ExampleResults;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::WriteExample;

TEST(ReportData, SeedsOfARunAreOneSeriesWithTheirMeanAndDeviation) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  const double nll[] = {1.0, 1.2, 1.7};
  for (int seed = 0; seed < 3; ++seed) {
    paths.push_back(WriteExample(
        folder / std::to_string(seed),
        ExampleResults("XPOS", seed,
                       {{"causal", 128, nll[seed]}, {"bca", 128, 1.0}})));
  }
  const ReportData data = ReadReportData(paths).value();
  ASSERT_EQ(data.rows.size(), 2u);
  const ReportRow& plain = data.rows[0];
  EXPECT_EQ(plain.method, "xPos");
  EXPECT_EQ(plain.mask, "plain");
  EXPECT_EQ(plain.nll_of_run.size(), 3u);
  EXPECT_NEAR(plain.nll, 1.3, 1e-12);
  // (0.09 + 0.01 + 0.16) / 2
  EXPECT_NEAR(plain.SeedDeviation(), std::sqrt(0.13), 1e-12);
  EXPECT_EQ(data.rows[1].mask, "BCA");
  EXPECT_EQ(data.rows[1].SeedDeviation(), 0);
  EXPECT_EQ(data.training_length, 128);
}

TEST(ReportData, MasksMethodsAndExtensionsAreSeriesOfTheirOwn) {
  const testing::TemporaryFolder folder;
  nlohmann::json results = ExampleResults("ROPE", 1,
                                          {{"causal", 128, 1},
                                           {"causal", 256, 2},
                                           {"window", 256, 1.1},
                                           {"sinks", 256, 1.2}});
  results["results"][1]["extension"] = "yarn";
  results["results"][1]["extension_factor"] = 2;
  results["results"][1]["exponent_extended"] = false;
  results["results"][2]["window"] = 96;
  results["results"][3]["window"] = 96;
  results["results"][3]["sinks"] = 4;
  const ReportData data =
      ReadReportData({WriteExample(folder / "run", results)}).value();
  std::vector<std::string> masks;
  for (const ReportRow& row : data.rows) masks.push_back(row.mask);
  EXPECT_THAT(masks, ::testing::ElementsAre("plain", "window 96", "sinks 4+96",
                                            "plain + YaRN"));
}

TEST(ReportData, WhatIsNoResultIsRefusedInOneLineThatNamesIt) {
  const testing::TemporaryFolder folder;
  const auto message_of = [&](const std::string& text) {
    EXPECT_TRUE(AtomicWrite(folder / "results.json", text).ok());
    const absl::Status status = ReadReportData({folder.path()}).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(folder / "results.json"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
    return std::string(status.message());
  };
  EXPECT_THAT(message_of("{"), HasSubstr("parse error"));
  EXPECT_THAT(message_of("{}"), HasSubstr("'config' not found"));
  nlohmann::json results = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  results["results"][0].erase("nll");
  EXPECT_THAT(message_of(results.dump()), HasSubstr("'nll' not found"));
  results["results"][0]["nll"] = nlohmann::json::array();
  EXPECT_THAT(message_of(results.dump()), HasSubstr("must be number"));
  const absl::Status missing = ReadReportData({folder / "nothing"}).status();
  EXPECT_EQ(ExitCodeOf(missing), ExitCode::kInput);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("nothing: is neither"));
}

TEST(ReportData, RunsThatAreNotAboutTheSameAreRefused) {
  const testing::TemporaryFolder folder;
  const nlohmann::json one = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  nlohmann::json longer = ExampleResults("XPOS", 2, {{"causal", 128, 1}});
  longer["config"]["model"]["training_length"] = 256;
  nlohmann::json other_data = ExampleResults("XPOS", 2, {{"causal", 128, 1}});
  other_data["data"]["tokens"] = 7;
  nlohmann::json misspelt = ExampleResults("XPOS", 2, {{"causal", 128, 1}});
  misspelt["results"][0]["nll"] = "abc";
  const std::string first = WriteExample(folder / "first", one);
  const std::pair<nlohmann::json, const char*> cases[] = {
      {longer, "its training length is 256, that of"},
      {other_data, "its data set has 10 documents and 7 tokens"},
      {one, "non_overlapping plain at 128 of xPos with seeds 1 and 1 is in an"},
      {misspelt, "a number is 'abc'"}};
  for (const auto& [second, says] : cases) {
    const absl::Status status =
        ReadReportData({first, WriteExample(folder / "second", second)})
            .status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  }
}

TEST(ReportData, BlocksOfBcaOtherThanHalfTheTrainingLengthAreNamed) {
  const testing::TemporaryFolder folder;
  nlohmann::json results =
      ExampleResults("XPOS", 1, {{"bca", 128, 1}, {"bca", 256, 1}});
  results["results"][0]["block"] = 64;
  results["results"][1]["block"] = 32;
  const ReportData data =
      ReadReportData({WriteExample(folder / "run", results)}).value();
  EXPECT_EQ(data.rows[0].mask, "BCA");
  EXPECT_EQ(data.rows[1].mask, "BCA 32");
}

TEST(CompareOrders, TakesMarginsSeedBySeed) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  // Growth from l to 4l: 0.1 and 0.4 plain, -0.2 and 0 with BCA.
  const double plain[][2] = {{1, 1.1}, {2, 2.4}};
  const double bca[][2] = {{1, 0.8}, {2, 2.0}};
  for (int seed = 0; seed < 2; ++seed) {
    paths.push_back(
        WriteExample(folder / std::to_string(seed),
                     ExampleResults("XPOS", seed,
                                    {{"causal", 128, plain[seed][0]},
                                     {"causal", 512, plain[seed][1]},
                                     {"bca", 128, bca[seed][0]},
                                     {"bca", 512, bca[seed][1]}})));
  }
  const std::vector<ComparedOrder> orders =
      CompareOrders(ReadReportData(paths).value());
  ASSERT_EQ(orders.size(), 3u);
  EXPECT_THAT(orders[0].statement, HasSubstr("xPos with BCA is flat"));
  EXPECT_NEAR(orders[0].margin, -0.1, 1e-12);
  // sd 0.2 / sqrt 2 over two seeds: 0.1
  EXPECT_NEAR(orders[0].standard_error, 0.1, 1e-12);
  EXPECT_EQ(VerdictOf(orders[0]), "confirmed");
  EXPECT_THAT(orders[1].statement, HasSubstr("xPos plain rises"));
  EXPECT_NEAR(orders[1].margin, 0.25, 1e-12);
  EXPECT_EQ(VerdictOf(orders[1]), "not found");  // not beyond 2 x 0.15
  EXPECT_NEAR(orders[2].margin, 0.35, 1e-12);    // at 4l: 0.3 and 0.4
  EXPECT_NEAR(orders[2].standard_error, 0.05, 1e-12);
}

TEST(LmEvalJson, HasTheHarnesssKeys) {
  const testing::TemporaryFolder folder;
  const nlohmann::json json = nlohmann::json::parse(LmEvalJson(
      ReadReportData(
          {WriteExample(folder / "run",
                        ExampleResults("XPOS", 1, {{"bca", 512, 1.5}}))})
          .value()));
  const nlohmann::json& task =
      json.at("results").at("xPos_non_overlapping_BCA_512");
  EXPECT_NEAR(task.at("bits_per_byte,none"), 1.5 / std::log(2.0), 1e-12);
  EXPECT_NEAR(task.at("byte_perplexity,none"), std::exp(1.5), 1e-9);
  EXPECT_NEAR(task.at("bits_per_byte_stderr,none"), 0.01 / std::log(2.0),
              1e-12);
  EXPECT_TRUE(json.contains("configs"));
  EXPECT_TRUE(json.contains("n-samples"));
}

TEST(ReportData, AnswersOfSyntheticTasksAreAddedOverSeeds) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  for (int seed = 0; seed < 2; ++seed) {
    nlohmann::json results = ExampleResults("XPOS", seed, {{"bca", 128, 1}});
    results["synthetic"] = {{{"task", "passkey"},
                             {"mask", "bca"},
                             {"length", 128},
                             {"depth", 0.25},
                             {"trials", 20},
                             {"correct", 4 + seed}},
                            {{"task", "induction"},
                             {"mask", "bca"},
                             {"length", 128},
                             {"trials", 300},
                             {"correct", 150}}};
    paths.push_back(WriteExample(folder / std::to_string(seed), results));
  }
  const ReportData data = ReadReportData(paths).value();
  ASSERT_EQ(data.synthetic.size(), 2u);
  EXPECT_EQ(data.synthetic[1].task, "passkey");
  EXPECT_EQ(data.synthetic[1].trials, 40);
  EXPECT_EQ(data.synthetic[1].correct, 9);
  const std::string html = ReportHtml(data, "tasks");
  EXPECT_THAT(html, HasSubstr("passkey, xPos, BCA"));
  EXPECT_THAT(html, HasSubstr("depth 0.25"));
  EXPECT_THAT(html, HasSubstr(">22 %<"));  // 9 of 40
  EXPECT_THAT(html, HasSubstr("0.500"));
  const std::string markdown = ReportMarkdown(data, "tasks");
  EXPECT_THAT(
      markdown,
      HasSubstr(
          "| passkey | xPos | BCA | 128 | 0.25 | 0.225 | 0.123 to 0.375 |"));
  EXPECT_THAT(markdown,
              HasSubstr("| induction | xPos | BCA | 128 | - | 0.500"));
}

TEST(ReportHtml, EscapesWhatRunsSayAndAsksForNothingFromOutside) {
  const testing::TemporaryFolder folder;
  nlohmann::json results = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  results["command"] = "lextra evaluate <script>alert(1)</script> & \"x\"";
  const std::string html = ReportHtml(
      ReadReportData({WriteExample(folder / "run", results)}).value(), "A < B");
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt; &amp; "
                              "&quot;x&quot;"));
  EXPECT_THAT(html, HasSubstr("<h1>A &lt; B</h1>"));
  for (const char* fetches : {"src=", "href=", "url(", "@import", "<link"}) {
    EXPECT_THAT(html, Not(HasSubstr(fetches)));
  }
}

TEST(ChartSvg, LeavesGapsWhereThereIsNoNumber) {
  const double nan = std::nan("");
  Chart chart = {.title = "gaps", .x_label = "x", .y_label = "y"};
  chart.series = {{.name = "one",
                   .points = {{1, 1, nan, "a"},
                              {2, nan, nan, "b"},
                              {4, 2, nan, "c"},
                              {8, INFINITY, nan, "d"}}}};
  const std::string svg = ChartSvg(chart);
  EXPECT_THAT(svg, HasSubstr("one: a"));
  EXPECT_THAT(svg, Not(HasSubstr("one: b")));
  EXPECT_THAT(svg, HasSubstr("one: c"));
  EXPECT_THAT(svg, Not(HasSubstr("one: d")));
  for (const char* broken : {"nan", "inf"}) {
    EXPECT_THAT(svg, Not(HasSubstr(broken)));
  }
}

}  // namespace
}  // namespace lextra
