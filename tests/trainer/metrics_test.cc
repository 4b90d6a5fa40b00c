#include "trainer/metrics.h"

#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/files.h"
#include "base/io/system_calls.h"
#include "base/log.h"
#include "tests/testing/golden.h"
#include "trainer/metrics_file.h"

namespace lextra {
namespace {

RunConfig SmallConfig() {
  RunConfig config;
  config.mutable_model()->set_num_layers(2);
  config.mutable_model()->set_hidden_size(8);
  config.mutable_model()->set_num_heads(2);
  config.mutable_model()->set_num_kv_heads(2);
  config.mutable_model()->set_head_dim(4);
  config.mutable_model()->set_ffn_hidden_size(32);
  config.mutable_model()->set_vocab_size(100);
  config.mutable_schedule()->set_num_steps(20);
  config.mutable_logging()->set_interval_steps(5);
  return config;
}

int64_t CountLines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

TEST(Metrics, RecordsTheFirstTheDueAndTheLastStep) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  for (int64_t step = 1; step <= 20; ++step) {
    metrics.Record({.step = step});
  }
  const std::string text =
      ReadFile(folder.path() + "/metrics.jsonl", 1 << 20).value();
  EXPECT_EQ(CountLines(text), 5);  // 1, 5, 10, 15, 20
}

// The lines of a run's metrics that have `key`.
std::vector<nlohmann::json> LinesWith(const std::string& key,
                                      const std::string& run_folder) {
  std::vector<nlohmann::json> found;
  std::istringstream lines(
      ReadFile(run_folder + "/metrics.jsonl", 1 << 20).value());
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json object = nlohmann::json::parse(line);
    if (object.contains(key)) found.push_back(std::move(object));
  }
  return found;
}

// Half a second a step, whatever happens between steps and whatever step the
// run resumed after; every second step is skipped.
TEST(Metrics, RatesAreTheWorkOfStepsByTheTimeInsideThem) {
  for (const int64_t first_step : {0, 7}) {
    for (const int64_t validation_every : {1, 4, 5, 100}) {
      SCOPED_TRACE(absl::StrCat("from step ", first_step,
                                ", a validation every ", validation_every));
      const testing::TemporaryFolder folder;
      RunConfig config = SmallConfig();
      config.mutable_data()->set_global_batch_size(4);
      config.mutable_model()->set_training_length(16);
      const double flops = TrainingFlopsPerToken(config.model());
      Metrics metrics =
          Metrics::Open(config, folder.path(), first_step).value();
      for (int64_t step = first_step + 1; step <= 20; ++step) {
        metrics.Record(
            {.step = step, .skipped_steps = step / 2, .seconds = 0.5});
        if (step % validation_every == 0) {
          metrics.RecordValidation(step, {.loss = 1});
          metrics.RecordExtrapolation(step, {{32, 1.0}});
        }
      }
      const std::vector<nlohmann::json> lines =
          LinesWith("step_s", folder.path());
      EXPECT_EQ(lines.size(), first_step == 0 ? 5u : 3u);
      for (const nlohmann::json& line : lines) {
        EXPECT_DOUBLE_EQ(line["step_s"].get<double>(), 0.5);
        EXPECT_DOUBLE_EQ(line["tok_s"].get<double>(), 4 * 16 / 0.5);
        EXPECT_DOUBLE_EQ(line["flop_s"].get<double>(), 4 * 16 / 0.5 * flops);
      }
    }
  }
}

TEST(Metrics, ALineIsTheMeanOfTheStepsSinceTheLastOne) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  SetLogFile(folder.path() + "/log.txt");
  for (const double seconds : {1, 2, 3, 4, 5}) {
    metrics.Record({.step = static_cast<int64_t>(seconds), .seconds = seconds});
  }
  SetLogFile("");
  const std::vector<nlohmann::json> lines = LinesWith("step_s", folder.path());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_DOUBLE_EQ(lines[0]["step_s"].get<double>(), 1);
  EXPECT_DOUBLE_EQ(lines[1]["step_s"].get<double>(), (2 + 3 + 4 + 5) / 4.0);
  // Fifteen steps of 3.5 s are left.
  EXPECT_THAT(ReadFile(folder.path() + "/log.txt", 1 << 20).value(),
              ::testing::HasSubstr("| eta 0m53s\n"));
}

TEST(Metrics, AValidationSaysWhatItCovered) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  SetLogFile(folder.path() + "/log.txt");
  const ValidationLoss validation = {.loss = 2.5,
                                     .standard_error = 0.03125,
                                     .samples = 8,
                                     .samples_in_set = 90,
                                     .documents = 6,
                                     .documents_in_set = 7};
  metrics.RecordValidation(5, validation);
  ValidationLoss of_one_document = validation;
  of_one_document.standard_error.reset();
  metrics.RecordValidation(10, of_one_document);
  SetLogFile("");
  const std::string log = ReadFile(folder.path() + "/log.txt", 1 << 20).value();
  EXPECT_THAT(log, ::testing::HasSubstr(
                       "step      5/20 | validation loss  2.5000 | perplexity "
                       "12.182 | std. error 0.0312 | 8 of 90 samples, 6 of 7 "
                       "documents\n"));
  EXPECT_THAT(log, ::testing::HasSubstr("| std. error - |"));
  const auto lines = LinesWith("validation_loss", folder.path());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["validation_standard_error"], 0.03125);
  EXPECT_EQ(lines[0]["validation_samples"], 8);
  EXPECT_EQ(lines[0]["validation_documents"], 6);
  EXPECT_FALSE(lines[1].contains("validation_standard_error"));
}

TEST(Metrics, ResumingDropsLaterLinesAndATornOne) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  ASSERT_TRUE(AtomicWrite(path,
                          "{\"step\": 5, \"loss\": 1}\n"
                          "{\"step\": 10, \"loss\": 1}\n"
                          "{\"step\": 15, \"loss\": 1}\n"
                          "{\"step\": 20, \"lo")
                  .ok());
  ASSERT_TRUE(Metrics::Open(SmallConfig(), folder.path(), 10).ok());
  EXPECT_EQ(ReadFile(path, 1 << 20).value(),
            "{\"step\": 5, \"loss\": 1}\n{\"step\": 10, \"loss\": 1}\n");
}

TEST(Metrics, ARunFromScratchKeepsTheLinesOfTheOneBefore) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  const std::string old = "{\"step\": 1}\n{\"step\": 2}\n{\"st";
  ASSERT_TRUE(AtomicWrite(path, old).ok());
  ASSERT_TRUE(Metrics::Open(SmallConfig(), folder.path(), 0).ok());
  EXPECT_EQ(ReadFile(path, 1 << 20).value(), "");
  const std::vector<std::string> names = ListFolder(folder.path()).value();
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[1].rfind("metrics.jsonl.20", 0), 0u) << names[1];
  EXPECT_EQ(ReadFile(folder.path() + "/" + names[1], 1 << 20).value(), old);
}

TEST(KeepLinesUpTo, DropsATornLineAndNotTheNextOne) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  const std::string whole =
      "{\"step\": 5}\n{\"step\": 10, \"lo\n{\"step\": 15}\n";
  ASSERT_TRUE(AtomicWrite(path, whole + "{\"step\": 15, \"va").ok());
  ASSERT_TRUE(KeepLinesUpTo(path, 15).ok());
  EXPECT_EQ(ReadFile(path, 1 << 20).value(), whole);
  ASSERT_TRUE(KeepLinesUpTo(path, 14).ok());
  EXPECT_EQ(ReadFile(path, 1 << 20).value(), "{\"step\": 5}\n");
}

TEST(KeepLinesUpTo, CutsRightWhereverBlocksBegin) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  // Lines of 20 bytes to more than a block, with one that is far too long.
  std::string all;
  std::vector<size_t> end_of_step = {0};
  for (int step = 1; step <= 60; ++step) {
    const size_t padding = step % 7 == 0 ? 70000 : 997 * step % 5000;
    absl::StrAppendFormat(&all, "{\"step\": %d, \"text\": \"%s\"}\n", step,
                          std::string(padding, 'x'));
    end_of_step.push_back(all.size());
    if (step == 30) all += std::string(3 << 20, 'y') + "\n";
  }
  ASSERT_TRUE(AtomicWrite(path, all).ok());
  for (int last = 60; last >= 1; --last) {
    ASSERT_TRUE(KeepLinesUpTo(path, last).ok());
    ASSERT_EQ(ReadFile(path, 1 << 24).value(), all.substr(0, end_of_step[last]))
        << last;
  }
}

TEST(KeepLinesUpTo, AFailedCutIsAnErrorAndTheFileStays) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/metrics.jsonl";
  const std::string text = "{\"step\": 5}\n{\"step\": 6}\n";
  ASSERT_TRUE(AtomicWrite(path, text).ok());
  for (const char* rule : {"read:1-:EIO", "truncate:1:EIO"}) {
    const sys::ScopedFaults faults(rule);
    EXPECT_EQ(ExitCodeOf(KeepLinesUpTo(path, 5)), ExitCode::kStorage) << rule;
  }
  EXPECT_EQ(ReadFile(path, 1 << 20).value(), text);
}

TEST(Metrics, WritesNonFiniteNumbersAsStrings) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  metrics.Record({.step = 1, .loss = std::numeric_limits<double>::quiet_NaN()});
  const std::string text =
      ReadFile(folder.path() + "/metrics.jsonl", 1 << 20).value();
  EXPECT_NE(text.find("\"loss\":\"nan\""), std::string::npos) << text;
}

TEST(Metrics, PrintsNoNanWithASign) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  const double nan = -std::numeric_limits<double>::quiet_NaN();
  ::testing::internal::CaptureStderr();
  metrics.Record({.step = 1, .loss = nan, .gradient_norm = nan});
  metrics.RecordValidation(1, {.loss = nan});
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("loss     nan | norm      nan"), std::string::npos) << log;
  EXPECT_NE(log.find("validation loss     nan | perplexity nan"),
            std::string::npos)
      << log;
  EXPECT_EQ(log.find("-nan"), std::string::npos) << log;
}

TEST(Metrics, ContinuesWhenALineCanNotBeWritten) {
  const testing::TemporaryFolder folder;
  Metrics metrics = Metrics::Open(SmallConfig(), folder.path(), 0).value();
  {
    const sys::ScopedFaults faults("write:1:ENOSPC:path=metrics.jsonl");
    metrics.Record({.step = 1});
    EXPECT_EQ(faults.num_hits(), 1);
  }
  metrics.Record({.step = 5});
  EXPECT_EQ(
      CountLines(ReadFile(folder.path() + "/metrics.jsonl", 1 << 20).value()),
      1);
}

TEST(TrainingFlopsPerToken, IsSixNPlusSixLCT) {
  RunConfig config = SmallConfig();
  config.mutable_model()->set_training_length(16);
  // Embedding 128 x 8 (padded, tied); a layer: 4 (8 x 8 + 8), 8 x 32 + 32,
  // 32 x 8 + 8, two norms of 16; the last norm of 16.
  const double parameters = 128 * 8 + 2 * (4 * 72 + 288 + 264 + 2 * 16) + 16;
  EXPECT_DOUBLE_EQ(TrainingFlopsPerToken(config.model()),
                   6 * parameters + 6 * 2 * 8 * 16);
}

}  // namespace
}  // namespace lextra
