#include "evaluator/report/report_tasks.h"

#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/wilson_interval.h"
#include "evaluator/report/report.h"

namespace lextra {
namespace {

// Depth, then length.
using SharesByDepth = std::map<double, std::map<int64_t, double>>;

// Keys found, by depth and length.
void AppendHeatMap(const std::string& mask, const std::string& label,
                   const SharesByDepth& by_depth, HtmlPage* page) {
  std::set<int64_t> lengths;
  for (const auto& [depth, by_length] : by_depth) {
    for (const auto& [length, share] : by_length) lengths.insert(length);
  }
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::vector<std::vector<double>> shares;
  for (const int64_t length : lengths) columns.push_back(absl::StrCat(length));
  for (const auto& [depth, by_length] : by_depth) {
    rows.push_back(absl::StrFormat("depth %.2f", depth));
    shares.emplace_back();
    for (const int64_t length : lengths) {
      const auto it = by_length.find(length);
      shares.back().push_back(it == by_length.end()
                                  ? std::numeric_limits<double>::quiet_NaN()
                                  : it->second);
    }
  }
  page->HeatMap(absl::StrCat("passkey, ", label, ", ", mask), rows, columns,
                shares);
}

std::string IntervalText(const ReportSynthetic& row) {
  const Interval interval = WilsonInterval(row.correct, row.trials);
  return absl::StrFormat("%.3f to %.3f", interval.low, interval.high);
}

double ShareOf(const ReportSynthetic& row) {
  return static_cast<double>(row.correct) / static_cast<double>(row.trials);
}

}  // namespace

void AppendSyntheticTasks(const ReportData& data, HtmlPage* page) {
  if (data.synthetic.empty()) return;
  page->Heading("Synthetic tasks");
  page->Paragraph(
      "passkey: a key of five digits is stated at some depth of a text "
      "(0: its beginning) and asked for at its end; found if every digit is "
      "the most likely byte. induction: the share of the last 15 of 16 "
      "different bytes, which come again after a text, that are the most "
      "likely byte.");
  std::map<std::pair<std::string, std::string>, SharesByDepth> maps;
  std::vector<std::vector<std::string>> copied = {
      {"method", "mask", "length", "copied", "95 % interval", "of"}};
  for (const ReportSynthetic& row : data.synthetic) {
    if (row.task == "passkey") {
      maps[{row.mask, row.label}][row.depth][row.length] = ShareOf(row);
      continue;
    }
    copied.push_back({row.label, row.mask, absl::StrCat(row.length),
                      FixedPoint(3, ShareOf(row)), IntervalText(row),
                      absl::StrCat(row.trials)});
  }
  for (const auto& [key, by_depth] : maps) {
    AppendHeatMap(key.first, key.second, by_depth, page);
  }
  if (copied.size() > 1) page->Table(copied, /*num_texts=*/2);
}

std::string SyntheticTasksMarkdown(const ReportData& data) {
  if (data.synthetic.empty()) return "";
  std::string text =
      "\nSynthetic tasks, the share of right answers:\n\n"
      "| task | method | mask | length | depth | right | 95 % interval | of |\n"
      "|:--|:--|:--|--:|--:|--:|--:|--:|\n";
  for (const ReportSynthetic& row : data.synthetic) {
    absl::StrAppend(
        &text, "| ", row.task, " | ", MarkdownCell(row.label), " | ", row.mask,
        " | ", row.length, " | ",
        row.task == "passkey" ? absl::StrFormat("%.2f", row.depth) : "-", " | ",
        FixedPoint(3, ShareOf(row)), " | ", IntervalText(row), " | ",
        row.trials, " |\n");
  }
  return text;
}

}  // namespace lextra
