#include "evaluator/report/report_data.h"

#include <cmath>
#include <exception>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/io/files.h"
#include "evaluator/report/report_merger.h"

namespace lextra {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;

// The results of the newest step in `folder`; empty if there are none.
std::string ResultsOfNewestStep(const std::string& folder) {
  namespace fs = std::filesystem;
  std::pair<int64_t, std::string> newest = {-1, ""};
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    absl::string_view digits = name;
    int64_t step = 0;
    if (!absl::ConsumePrefix(&digits, "step-") ||
        !absl::SimpleAtoi(digits, &step)) {
      continue;
    }
    const std::string results =
        absl::StrCat(folder, "/", name, "/results.json");
    std::error_code ignored;
    if (fs::is_regular_file(results, ignored)) {
      newest = std::max(newest, {step, results});
    }
  }
  return newest.second;
}

absl::StatusOr<std::string> ResultsPath(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (const std::string& candidate :
       {path, path + "/results.json", ResultsOfNewestStep(path + "/eval"),
        path + "/eval/results.json", ResultsOfNewestStep(path)}) {
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  return InputError(absl::StrCat(
      path,
      ": is neither a results.json nor a folder with results.json, "
      "eval/step-*/results.json or eval/results.json in it; lextra evaluate "
      "writes them"));
}

absl::Status AddText(const std::string& file, const std::string& text,
                     ReportMerger* merger) {
  try {
    merger->Add(file, nlohmann::json::parse(text));
  } catch (const std::exception& error) {
    return InputError(absl::StrCat(file, ": can't be merged: ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

double ReportRow::SeedDeviation() const {
  const auto count = static_cast<double>(nll_of_run.size());
  if (count < 2) return std::numeric_limits<double>::quiet_NaN();
  double squares = 0;
  for (const auto& [seeds, value] : nll_of_run) {
    squares += (value - nll) * (value - nll);
  }
  return std::sqrt(squares / (count - 1));
}

std::string ReportRow::Differences() const {
  return label == method ? "" : label.substr(method.size() + 2);
}

ReportRow DifferenceOf(const ReportRow& row, const ReportRow& base) {
  ReportRow difference;
  double sum = 0;
  for (const auto& [seeds, nll] : row.nll_of_run) {
    const auto it = base.nll_of_run.find(seeds);
    if (it == base.nll_of_run.end()) continue;
    difference.nll_of_run[seeds] = nll - it->second;
    sum += nll - it->second;
  }
  const auto count = static_cast<double>(difference.nll_of_run.size());
  difference.nll =
      count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
  return difference;
}

absl::StatusOr<ReportData> ReportDataOf(const std::string& name,
                                        const std::string& json) {
  ReportMerger merger;
  LEXTRA_RETURN_IF_ERROR(AddText(name, json, &merger));
  return merger.Take();
}

absl::StatusOr<ReportData> ReadReportData(
    const std::vector<std::string>& paths) {
  ReportMerger merger;
  for (const std::string& path : paths) {
    LEXTRA_ASSIGN_OR_RETURN(const std::string file, ResultsPath(path));
    LEXTRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxBytes));
    LEXTRA_RETURN_IF_ERROR(AddText(file, text, &merger));
  }
  return merger.Take();
}

}  // namespace lextra
