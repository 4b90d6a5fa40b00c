// What an evaluation hands to people and programs: results.json, results.csv,
// results.md (docs/formats.md), and the same table on the terminal.
#ifndef LEXTRA_EVALUATOR_RESULTS_H_
#define LEXTRA_EVALUATOR_RESULTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "evaluator/position_nll.h"

namespace lextra {

struct ResultRow {
  // What was scored, and what a query saw.
  Protocol protocol = NON_OVERLAPPING;
  Mask mask = CAUSAL;
  int64_t length = 0;
  std::optional<int64_t> block = std::nullopt;   // of BCA
  std::optional<int64_t> window = std::nullopt;  // of WINDOW and SINKS
  std::optional<int64_t> sinks = std::nullopt;   // of SINKS
  std::optional<int64_t> stride = std::nullopt;  // of windows of pieces
  Extension extension = UNCHANGED;
  double extension_factor = 1;
  bool exponent_extended = false;  // of xPos
  // What came out.
  double nll = 0;  // nats a token
  double perplexity = 0;
  double bits_per_byte = 0;
  int64_t tokens = 0;  // targets
  double bytes = 0;    // of the targets' text
  int64_t documents = 0;
  double standard_error = 0;  // of nll, over documents (position_nll.h)
  double keys_per_token = 0;
  double tokens_per_second = 0;   // of all ranks together, while they score
  int64_t peak_memory_bytes = 0;  // of the rank that has used most so far
  std::vector<PlaceBin> by_place = {};  // not of windows of pieces
};

// What the numbers are about.
struct ResultsContext {
  RunConfig config;  // effective
  std::string checkpoint_path;
  int64_t checkpoint_step = 0;
  std::string checkpoint_id;
  std::string tokenizer_name;
  std::string tokenizer_sha256;
  std::string data_path;
  int64_t data_documents = 0;
  int64_t data_tokens = 0;
  std::string versions;
  std::string command;
  std::string date;  // UTC, ISO 8601
};

// "bca 64", "sinks 4+128", "causal + yarn".
std::string MaskText(const ResultRow& row);
// All that tells a row from others of the same model and data, in words.
std::string RowName(const ResultRow& row);
std::string ResultLine(const ResultRow& row);
std::string ResultsJson(const std::vector<ResultRow>& rows,
                        const ResultsContext& context);
std::string ResultsCsv(const std::vector<ResultRow>& rows,
                       const ModelConfig& model);
// A Markdown table that is aligned for the eye too, and what its rows mean.
std::string ResultsTable(const std::vector<ResultRow>& rows);

// All three files, each atomically; results.json last. `folder` exists.
absl::Status WriteResults(const std::string& folder,
                          const std::vector<ResultRow>& rows,
                          const ResultsContext& context);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESULTS_H_
