// What `lextra report` shows: the results of evaluations, read back from their
// results.json (docs/formats.md) and merged. Runs that differ only in their
// seeds are one series (report_series.h); a row is of one series and one set of
// targets, so every mean here is over seeds only.
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_DATA_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_DATA_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluator/report/report_series.h"

namespace lextra {

// One file.
struct ReportRun {
  std::string path;
  size_t series = 0;   // in ReportData
  std::string method;  // "xPos", "RoPE", ..
  std::string checkpoint;
  int64_t step = 0;
  int64_t training_length = 0;
  std::string init_seed;
  std::string shuffle_seed;
  std::string tokenizer;
  std::string data;
  int64_t data_documents = 0;
  int64_t data_tokens = 0;
  std::string data_digest;  // empty if the results have none
  std::string versions;
  std::string command;
  std::string date;
};

// Runs that differ only in their seeds.
struct ReportSeries {
  std::string method;
  Settings settings;
  std::string differences = "";  // from the other series; DifferenceTexts
  std::set<std::string> seeds = {};
};

struct ReportPlace {
  int64_t first = 0;
  int64_t last = 0;
  double nll = 0;  // mean over the runs that have targets there
  int64_t runs = 0;
};

// One row of the results, of all runs of a series that have it.
struct ReportRow {
  size_t series = 0;      // in ReportData
  Settings targets = {};  // which of them are scored
  std::string label;  // "xPos", or "xPos, hidden_size 64" where settings differ
  std::string method;
  std::string mask;  // "causal", "BCA", "window 96", "causal + YaRN", ..
  std::string protocol;
  int64_t length = 0;
  std::optional<int64_t> stride = std::nullopt;
  // By seeds of the run, so that rows can be compared seed by seed.
  std::map<std::string, double> nll_of_run = {};
  double nll = 0;             // mean over runs, as below
  double standard_error = 0;  // over documents
  double bits_per_byte = 0;
  bool bytes_are_average = false;  // results.h
  double keys_per_token = 0;
  // Over the runs that report it; NaN if none does, or if their ranks were laid
  // out differently.
  double tokens_per_second = 0;
  int64_t tokens = 0;
  int64_t documents = 0;
  std::vector<ReportPlace> by_place = {};

  // Of nll over runs; NaN for one.
  double SeedDeviation() const;
  // What the label says in addition to the method; empty if nothing.
  std::string Differences() const;
};

// The differences of `row` from `base`, another row of the series, for the runs
// that have both: per run, and their mean (NaN if there are none).
ReportRow DifferenceOf(const ReportRow& row, const ReportRow& base);

struct ReportResolution {
  size_t series = 0;
  Settings targets = {};
  std::string label;
  std::string method;
  std::string mask;
  int64_t length = 0;
  int64_t documents = 0;
  int64_t runs = 0;
  double resolution = 0;  // mean over runs
  std::optional<double> spread = std::nullopt;
  std::vector<double> by_layer = {};
  std::vector<int64_t> distances = {};
  std::vector<double> mean_scores = {};  // s at these, mean over layers
};

struct ReportSynthetic {
  size_t series = 0;
  Settings targets = {};
  std::string task;  // "passkey" or "induction"
  std::string label;
  std::string method;
  std::string mask;
  int64_t length = 0;
  double depth = 0;  // of a passkey
  int64_t runs = 0;
  int64_t trials = 0;  // over all runs, as below
  int64_t correct = 0;

  // Of correct answers.
  double Share() const {
    return static_cast<double>(correct) / static_cast<double>(trials);
  }
};

struct ReportData {
  std::vector<ReportRun> runs = {};
  std::vector<ReportSeries> series = {};
  // By protocol, mask, method, series, targets and length.
  std::vector<ReportRow> rows = {};
  std::vector<ReportResolution> resolution = {};
  std::vector<ReportSynthetic> synthetic = {};
  int64_t training_length = 0;
};

// The results in the text of one results.json; `name` names it in errors.
absl::StatusOr<ReportData> ReportDataOf(const std::string& name,
                                        const std::string& json);

// The results in `paths`: a results.json, a folder that holds one, or a run
// folder, of which eval/step-N of the newest step is used, or eval/ (likewise
// for eval/ itself). InputError names the file and what is wrong with it: also
// if runs differ in training length or data; and, with the name of the other
// file, if a run has duplicate rows, two runs have equal settings and seeds, or
// a row has other targets than the settings imply.
absl::StatusOr<ReportData> ReadReportData(
    const std::vector<std::string>& paths);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_DATA_H_
