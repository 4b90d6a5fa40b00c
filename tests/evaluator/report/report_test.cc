// What `lextra report` reads, merges and writes.
#include "evaluator/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/io/files.h"
#include "config/resolve.h"
#include "evaluator/report/report_data.h"
#include "tests/evaluator/report/report_example.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using testing::ExampleResults;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::WriteExample;

// A table without what aligns it.
std::string Unaligned(const std::string& table) {
  std::string text;
  for (const char c : table) {
    if (c != ' ' || text.empty() || text.back() != ' ') text += c;
  }
  return text;
}

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
  EXPECT_EQ(plain.mask, "causal");
  EXPECT_EQ(plain.nll_of_run.size(), 3u);
  EXPECT_NEAR(plain.nll, 1.3, 1e-12);
  // (0.09 + 0.01 + 0.16) / 2
  EXPECT_NEAR(plain.SeedDeviation(), std::sqrt(0.13), 1e-12);
  EXPECT_EQ(data.rows[1].mask, "BCA");
  EXPECT_EQ(data.rows[1].SeedDeviation(), 0);
  EXPECT_EQ(data.training_length, 128);
}

std::vector<std::string> LabelsOf(const ReportData& data) {
  std::vector<std::string> labels;
  for (const ReportRow& row : data.rows) labels.push_back(row.label);
  return labels;
}

TEST(ReportData, RunsThatDifferInMoreThanTheirSeedsAreLinesThatSayInWhat) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  for (int seed = 1; seed <= 4; ++seed) {
    nlohmann::json results =
        ExampleResults("XPOS", seed, {{"causal", 128, 1.0 * seed}});
    if (seed > 2) {
      results["config"]["model"]["hidden_size"] = 64;
      results["config"]["schedule"]["learning_rate"] = 3e-4;
    }
    paths.push_back(WriteExample(folder / std::to_string(seed), results));
  }
  const ReportData data = ReadReportData(paths).value();
  ASSERT_EQ(data.rows.size(), 2u);
  EXPECT_EQ(data.rows[0].label, "xPos, hidden_size 192, learning_rate 0.001");
  EXPECT_EQ(data.rows[1].label, "xPos, hidden_size 64, learning_rate 0.0003");
  EXPECT_EQ(data.rows[0].nll, 1.5);
  EXPECT_EQ(data.rows[1].nll, 3.5);
  EXPECT_EQ(data.rows[1].nll_of_run.size(), 2u);
  // Everything that is made of them says so.
  EXPECT_THAT(ReportCsv(data),
              HasSubstr(",\"hidden_size 64, learning_rate 0.0003\"\n"));
  EXPECT_THAT(
      Unaligned(ReportMarkdown(data, "two")),
      HasSubstr("| xPos, hidden_size 64, learning_rate 0.0003 | causal |"));
  const std::string html = ReportHtml(data, "two");
  EXPECT_THAT(html,
              HasSubstr(">xPos, hidden_size 64, learning_rate 0.0003</text>"));
  EXPECT_THAT(
      html,
      HasSubstr("<td class=\"text\">xPos, hidden_size 64, learning_rate"));
  const nlohmann::json harness = nlohmann::json::parse(LmEvalJson(data));
  EXPECT_EQ(harness.at("results").size(), 2u);
  EXPECT_TRUE(harness["results"].contains(
      "xPos_hidden_size_64_learning_rate_0.0003_non_overlapping_causal_128"));
}

TEST(ReportData, OneDifferenceIsEnoughForALineOfItsOwn) {
  const testing::TemporaryFolder folder;
  const nlohmann::json one = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  const auto changed = [](const char* path, const nlohmann::json& value) {
    nlohmann::json results = ExampleResults("XPOS", 2, {{"causal", 128, 2}});
    results[nlohmann::json::json_pointer(path)] = value;
    return results;
  };
  const std::pair<nlohmann::json, const char*> cases[] = {
      {changed("/config/model/num_layers", 3), "xPos, num_layers 3"},
      {changed("/config/model/precision", "BF16"), "xPos, precision BF16"},
      {changed("/config/model/xpos_gamma", 0.2), "xPos, xpos_gamma 0.2"},
      {changed("/config/data/train", "a"), "xPos, data.train \"a\""},
      {changed("/config/data/global_batch_size", 8),
       "xPos, global_batch_size 8"},
      {changed("/config/optimizer/beta2", 0.99), "xPos, beta2 0.99"},
      {changed("/config/schedule/num_steps", 7), "xPos, num_steps 7"},
      {changed("/checkpoint/step", 1000), "xPos, step last"},
      {changed("/tokenizer/name", "bpe"), "xPos, tokenizer bpe"},
      {changed("/config/evaluation/max_tokens", 64), "xPos, max_tokens 64"}};
  const std::string first = WriteExample(folder / "first", one);
  for (const auto& [second, label] : cases) {
    const ReportData data =
        ReadReportData({first, WriteExample(folder / "second", second)})
            .value();
    EXPECT_THAT(LabelsOf(data), ::testing::Contains(label));
    EXPECT_EQ(data.rows.size(), 2u) << label;
  }
}

TEST(ReportData, HowAndWhereARunRanIsNoDifference) {
  const testing::TemporaryFolder folder;
  const nlohmann::json one = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  nlohmann::json two = ExampleResults("XPOS", 2, {{"causal", 128, 2}});
  two["config"]["parallel"]["tensor"] = 2;
  two["config"]["data"]["micro_batch_size"] = 2;
  two["config"]["data"]["validation"] = "elsewhere/books";
  two["config"]["checkpoint"]["interval_steps"] = 7;
  two["config"]["logging"]["interval_steps"] = 7;
  two["config"]["evaluation"]["segment_tokens"] = 64;
  two["checkpoint"]["path"] = "elsewhere/step-1";
  two["checkpoint"]["id"] = "2";
  const ReportData data = ReadReportData({WriteExample(folder / "1", one),
                                          WriteExample(folder / "2", two)})
                              .value();
  ASSERT_EQ(data.rows.size(), 1u);
  EXPECT_EQ(data.rows[0].label, "xPos");
  EXPECT_EQ(data.rows[0].nll, 1.5);
  // Of different layouts there is no mean speed.
  EXPECT_TRUE(std::isnan(data.rows[0].tokens_per_second));
  two["config"]["parallel"].erase("tensor");
  two["results"][0]["tokens_per_second"] = 3e5;
  WriteExample(folder / "2", two);
  const auto speed = [&] {
    return ReadReportData({folder / "1", folder / "2"})
        ->rows[0]
        .tokens_per_second;
  };
  EXPECT_EQ(speed(), 2e5);
  // A run that took all from a journal has none.
  two["results"][0].erase("tokens_per_second");
  WriteExample(folder / "2", two);
  EXPECT_EQ(speed(), 1e5);
}

TEST(ReportData, RowsOfOneLengthWithOtherTargetsAreNoMean) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  for (int longest = 1; longest <= 2; ++longest) {
    nlohmann::json results =
        ExampleResults("XPOS", longest, {{"causal", 128, 1.0 * longest}});
    results["config"]["evaluation"]["lengths"] = {128, 256 * longest};
    paths.push_back(WriteExample(folder / std::to_string(longest), results));
  }
  EXPECT_THAT(LabelsOf(ReadReportData(paths).value()),
              ::testing::ElementsAre("xPos, longest length 256",
                                     "xPos, longest length 512"));
}

TEST(ReportData, PartsOfOneEvaluationMayComeInSeveralFiles) {
  const testing::TemporaryFolder folder;
  const nlohmann::json plain = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  nlohmann::json other = ExampleResults("XPOS", 1, {{"bca", 128, 2}});
  const std::string first = WriteExample(folder / "first", plain);
  const std::string second = WriteExample(folder / "second", other);
  EXPECT_EQ(ReadReportData({first, second})->rows.size(), 2u);
  EXPECT_THAT(ReadReportData({first, second})->series, ::testing::SizeIs(1));
  // Another checkpoint with the same settings and seeds is another training.
  other["checkpoint"]["id"] = "2";
  const absl::Status status =
      ReadReportData({first, WriteExample(folder / "second", other)}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kInput);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(first + "/results.json"),
                    HasSubstr(second + "/results.json"),
                    HasSubstr("not its checkpoint")));
}

TEST(ReportData, ABinThatOnlyALaterRunHasIsThatRuns) {
  const testing::TemporaryFolder folder;
  const auto bin = [](int64_t first, int64_t last, double nll) {
    return nlohmann::json{{"first", first}, {"last", last}, {"nll", nll}};
  };
  nlohmann::json results[3];
  std::vector<std::string> paths;
  for (int seed = 0; seed < 3; ++seed) {
    results[seed] = ExampleResults("XPOS", seed, {{"causal", 128, 1}});
  }
  results[1]["results"][0]["by_place"] = {bin(2, 3, 3.0), bin(4, 7, 2.0)};
  results[2]["results"][0]["by_place"] = {bin(1, 1, 6.0), bin(4, 7, 4.0)};
  for (int seed = 0; seed < 3; ++seed) {
    paths.push_back(WriteExample(folder / std::to_string(seed), results[seed]));
  }
  const ReportData data = ReadReportData(paths).value();
  const std::vector<ReportPlace>& places = data.rows[0].by_place;
  ASSERT_EQ(places.size(), 3u);
  EXPECT_EQ(places[0].first, 1);
  EXPECT_EQ(places[0].nll, 6);
  EXPECT_EQ(places[1].first, 2);
  EXPECT_EQ(places[1].nll, 3);
  EXPECT_EQ(places[1].runs, 1);
  EXPECT_EQ(places[2].nll, 3);  // 2 and 4
  EXPECT_EQ(places[2].runs, 2);
}

nlohmann::json WithResolution(int seed, double resolution) {
  nlohmann::json results = ExampleResults("XPOS", seed, {{"bca", 128, 1}});
  results["resolution"] = {
      {{"length", 128},
       {"documents", 8},
       {"mask", "bca"},
       {"resolution", resolution},
       {"spread", 2 * resolution},
       {"distances", {0, 1}},
       {"layers", {{{"resolution", resolution}, {"s_hat", {1.0, 0.5}}}}}}};
  return results;
}

TEST(ReportData, ResolutionsAreMeansOverRunsOfOneMeasurement) {
  const testing::TemporaryFolder folder;
  const std::string first = WriteExample(folder / "1", WithResolution(1, 0.25));
  const auto report = [&](const nlohmann::json& second) {
    return ReadReportData({first, WriteExample(folder / "2", second)});
  };
  const ReportData data = report(WithResolution(2, 0.75)).value();
  ASSERT_EQ(data.resolution.size(), 1u);
  EXPECT_EQ(data.resolution[0].resolution, 0.5);
  EXPECT_EQ(data.resolution[0].spread, 1.0);
  EXPECT_EQ(data.resolution[0].runs, 2);
  nlohmann::json fewer = WithResolution(2, 0.75);
  fewer["resolution"][0]["documents"] = 4;
  EXPECT_EQ(report(fewer)->resolution.size(), 2u);
  nlohmann::json without = WithResolution(2, 0.75);
  without["resolution"][0].erase("spread");
  EXPECT_THAT(std::string(report(without).status().message()),
              HasSubstr("has 0 spreads"));
  // The rows of this one are another mask's, but not its resolution.
  nlohmann::json again = WithResolution(1, 0.75);
  again["results"][0]["mask"] = "causal";
  EXPECT_THAT(std::string(report(again).status().message()),
              HasSubstr("the resolution of BCA at 128 of xPos with seeds 1 and "
                        "1 is in " +
                        first));
}

TEST(DifferenceOf, IsThatOfTheRunsThatHaveBothRows) {
  ReportRow row;
  row.nll_of_run = {{"1", 2}, {"2", 4}};
  ReportRow base;
  base.nll_of_run = {{"2", 1}, {"3", 100}};
  EXPECT_EQ(DifferenceOf(row, base).nll, 3);
  EXPECT_TRUE(std::isnan(DifferenceOf(row, base).SeedDeviation()));
  EXPECT_TRUE(std::isnan(DifferenceOf(row, {}).nll));
}

TEST(ReportMarkdown, SaysHowManyOfTheSeedsARowHas) {
  const testing::TemporaryFolder folder;
  const std::vector<std::string> paths = {
      WriteExample(
          folder / "1",
          ExampleResults("XPOS", 1, {{"causal", 128, 1}, {"causal", 256, 1}})),
      WriteExample(folder / "2",
                   ExampleResults("XPOS", 2, {{"causal", 128, 2}}))};
  const std::string markdown =
      Unaligned(ReportMarkdown(ReadReportData(paths).value(), "seeds"));
  EXPECT_THAT(markdown, HasSubstr("| 2 | 4096 |"));
  EXPECT_THAT(markdown, HasSubstr("| 1 of 2 | 4096 |"));
}

TEST(ReportTables, OfOneEvaluationHaveNoColumnsOnSeeds) {
  const testing::TemporaryFolder folder;
  nlohmann::json results = ExampleResults("XPOS", 1, {{"causal", 128, 1.25}});
  nlohmann::json& row = results["results"][0];
  row["protocol"] = "sliding";
  row["stride"] = 32;
  row["bytes_are_average"] = true;
  const auto tables = [&] {
    return Unaligned(ReportTables(ReportDataOf("run", results.dump()).value()));
  };
  EXPECT_THAT(tables(), Not(HasSubstr("seeds")));
  EXPECT_THAT(tables(), HasSubstr("| sliding, stride 32 | xPos | causal | 128 "
                                  "| 1.2500 | 3.490 | ~"));
  EXPECT_THAT(tables(), HasSubstr("- sliding: windows of that many tokens"));
  EXPECT_THAT(tables(), HasSubstr("- ~: the tokenizer is unknown"));
  // All of it was in a journal.
  row.erase("tokens_per_second");
  EXPECT_THAT(tables(), HasSubstr(" | - |\n"));
}

TEST(ReportDataOf, TextThatIsNoJsonIsRefusedByItsName) {
  EXPECT_THAT(std::string(ReportDataOf("run", "{").status().message()),
              ::testing::StartsWith("run: can't be merged"));
}

TEST(ReportCsv, HasOneWordForWhatIsNoNumber) {
  const testing::TemporaryFolder folder;
  ReportData data =
      ReadReportData(
          {WriteExample(folder / "run",
                        ExampleResults("XPOS", 1, {{"causal", 128, 1}}))})
          .value();
  data.rows[0].standard_error = std::copysign(std::nan(""), -1.0);
  EXPECT_THAT(ReportCsv(data), HasSubstr(",nan,nan,1,4096,"));
  EXPECT_THAT(ReportCsv(data), Not(HasSubstr("-nan")));
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
  EXPECT_THAT(masks,
              ::testing::ElementsAre("causal", "window 96",
                                     "window 96 and 4 sinks", "causal + YaRN"));
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
  EXPECT_THAT(message_of(results.dump()),
              HasSubstr("expected a number, got []"));
  const absl::Status missing = ReadReportData({folder / "nothing"}).status();
  EXPECT_EQ(ExitCodeOf(missing), ExitCode::kInput);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("nothing: is neither"));
}

TEST(ReportData, RunsThatAreNotAboutTheSameAreRefused) {
  const testing::TemporaryFolder folder;
  nlohmann::json one = ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  one["data"]["digest"] = "1";
  nlohmann::json copied = ExampleResults("XPOS", 2, {{"causal", 128, 1}});
  copied["data"]["digest"] = "2";
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
      {one, "non_overlapping causal at 128 of xPos with seeds 1 and 1 is in "},
      {copied, "but a different digest, 2 instead of 1"},
      {misspelt, "expected a number, got \"abc\""}};
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

TEST(ReportData, OfARunFolderTheResultsOfTheNewestStepCount) {
  const testing::TemporaryFolder folder;
  const auto newest = [&](const std::string& path) {
    return ReadReportData({path}).value().runs[0].path;
  };
  const nlohmann::json results =
      ExampleResults("XPOS", 1, {{"causal", 128, 1}});
  const std::string eval = folder / "eval";
  WriteExample(eval, results);
  EXPECT_EQ(newest(folder.path()), eval + "/results.json");
  for (const char* step : {"step-00000900", "step-00001000", "step-99999"}) {
    WriteExample(eval + "/" + step, results);
  }
  ASSERT_TRUE(RemoveTree(eval + "/step-99999/results.json").ok());
  EXPECT_EQ(newest(folder.path()), eval + "/step-00001000/results.json");
  // A folder that has results itself says which.
  EXPECT_EQ(newest(eval), eval + "/results.json");
  ASSERT_TRUE(RemoveTree(eval + "/results.json").ok());
  EXPECT_EQ(newest(eval), eval + "/step-00001000/results.json");
}

TEST(ReportMarkdown, ATitleOfTwoLinesIsOneHeading) {
  EXPECT_THAT(ReportMarkdown({}, "of a\nfolder"),
              ::testing::StartsWith("# of a folder\n"));
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
  const std::string markdown = Unaligned(ReportMarkdown(data, "tasks"));
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

}  // namespace
}  // namespace lextra
