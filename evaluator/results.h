// The results of an evaluation, as in results.json (docs/formats.md); reports
// are made from that file (evaluator/report/report.h).
#ifndef LEXTRA_EVALUATOR_RESULTS_H_
#define LEXTRA_EVALUATOR_RESULTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "evaluator/scoring/evaluated_mask.h"
#include "evaluator/scoring/position_nll.h"

namespace lextra {

struct ResultRow {
  Protocol protocol = NON_OVERLAPPING;
  EvaluatedMask mask = {};
  int64_t length = 0;
  std::optional<int64_t> stride = std::nullopt;  // of windows of pieces
  double nll = 0;                                // nats per token
  double perplexity = 0;
  double bits_per_byte = 0;
  int64_t tokens = 0;              // targets
  double bytes = 0;                // of the targets' text; NaN if unknown
  bool bytes_are_average = false;  // not exact (TextMeasure)
  int64_t documents = 0;
  double standard_error = 0;  // of nll, over documents (position_nll.h)
  double keys_per_token = 0;
  // Tokens scored in this run by all ranks, divided by the row's time; none if
  // the journal had all of them.
  std::optional<double> tokens_per_second = std::nullopt;
  int64_t peak_memory_bytes = 0;  // of the rank with the highest peak so far
  std::vector<PlaceBin> by_place = {};  // not of windows of pieces
};

// Attention resolution under a mask
// (evaluator/resolution/attention_resolution.h).
struct ResolutionRow {
  EvaluatedMask mask = {};
  int64_t length = 0;
  int64_t documents = 0;
  at::Tensor resolution_LH = {};  // layers, heads
  // s[n] at some distances n, means over heads: [L, distances].
  std::vector<int64_t> distances = {};
  at::Tensor mean_scores_LN = {};
  // Standard deviation of s beyond the training length, mean over layers and
  // heads, if a query sees that far.
  std::optional<double> spread = std::nullopt;
};

// Correct answers of a synthetic task (evaluator/synthetic/synthetic_tasks.h).
struct SyntheticRow {
  std::string task;
  EvaluatedMask mask = {};
  int64_t length = 0;
  std::optional<double> depth = std::nullopt;  // of a passkey, 0 to 1
  int64_t trials = 0;
  int64_t correct = 0;
};

// All that an evaluation found.
struct Results {
  std::vector<ResultRow> rows = {};
  std::vector<ResolutionRow> resolution = {};
  std::vector<SyntheticRow> synthetic = {};
};

// The subject and origin of the numbers.
struct ResultsContext {
  std::string subject = {};  // checkpoint, precision and data, in words
  RunConfig config;          // effective
  std::string checkpoint_path;
  int64_t checkpoint_step = 0;
  std::string checkpoint_id;
  std::string tokenizer_name;
  std::string tokenizer_sha256;
  std::string data_path;
  int64_t data_documents = 0;
  int64_t data_tokens = 0;
  std::string data_digest = {};    // data/dataset_digest.h
  std::string config_digest = {};  // of the text of the effective configuration
  std::string versions;
  std::string command;
  std::string date;  // UTC, ISO 8601
};

// Identifies a row among those of the same model and data, in words.
std::string RowName(const ResultRow& row);
std::string ResultLine(const ResultRow& row);
std::string ResultsJson(const Results& results, const ResultsContext& context);
}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESULTS_H_
