// A results.json as `lextra evaluate` writes it.
#ifndef LEXTRA_TESTS_EVALUATOR_REPORT_REPORT_EXAMPLE_H_
#define LEXTRA_TESTS_EVALUATOR_REPORT_REPORT_EXAMPLE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/io/files.h"
#include "evaluator/results.h"

namespace lextra::testing {

struct ExampleRow {
  std::string mask;
  int64_t length;
  double nll;
};

inline nlohmann::json ExampleResults(const std::string& position, int seed,
                                     const std::vector<ExampleRow>& rows) {
  Results results;
  for (const ExampleRow& row : rows) {
    results.rows.push_back({.length = row.length,
                            .nll = row.nll,
                            .perplexity = std::exp(row.nll),
                            .bits_per_byte = row.nll / std::log(2.0),
                            .tokens = 4096,
                            .bytes = 4096,
                            .documents = 10,
                            .standard_error = 0.01,
                            .keys_per_token = 90,
                            .tokens_per_second = 1e5});
  }
  ResultsContext context = {.config = {},
                            .checkpoint_path = "runs/a/step-1",
                            .checkpoint_step = 1,
                            .checkpoint_id = "1",
                            .tokenizer_name = "byte",
                            .tokenizer_sha256 = "",
                            .data_path = "data/books",
                            .data_documents = 10,
                            .data_tokens = 100000,
                            .versions = "lextra 0",
                            .command = "lextra evaluate",
                            .date = "2026-01-02T03:04:05Z"};
  PositionMethod method = XPOS;
  EXPECT_TRUE(PositionMethod_Parse(position, &method));
  context.config.mutable_model()->set_position_encoding(method);
  context.config.mutable_model()->set_training_length(128);
  context.config.mutable_model()->set_init_seed(seed);
  context.config.mutable_data()->set_shuffle_seed(seed);
  nlohmann::json json = nlohmann::json::parse(ResultsJson(results, context));
  for (size_t i = 0; i < rows.size(); ++i) {
    json["results"][i]["mask"] = rows[i].mask;
  }
  return json;
}

// Writes it into a new folder, which it returns.
inline std::string WriteExample(const std::string& folder,
                                const nlohmann::json& results) {
  EXPECT_TRUE(MakeFolders(folder).ok());
  EXPECT_TRUE(AtomicWrite(folder + "/results.json", results.dump()).ok());
  return folder;
}

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_EVALUATOR_REPORT_REPORT_EXAMPLE_H_
