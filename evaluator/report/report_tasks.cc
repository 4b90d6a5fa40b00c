#include "evaluator/report/report_tasks.h"

#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evaluator/report/report_tables.h"

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

}  // namespace

void AppendSyntheticTasks(const ReportData& data, HtmlPage* page) {
  if (data.synthetic.empty()) return;
  page->Heading("Synthetic tasks");
  page->Paragraph(
      "passkey: a five-digit key is stated at some depth of a text (0: its "
      "beginning) and asked for at its end; found if every digit is the most "
      "likely byte. induction: 16 distinct bytes are repeated after a text; "
      "the share of the last 15 that are the most likely byte.");
  std::map<std::pair<std::string, std::string>, SharesByDepth> maps;
  for (const ReportSynthetic& row : data.synthetic) {
    if (row.task != "passkey") continue;
    maps[{row.mask, row.label}][row.depth][row.length] = row.Share();
  }
  for (const auto& [key, by_depth] : maps) {
    AppendHeatMap(key.first, key.second, by_depth, page);
  }
  const TextTable table = SyntheticTable(data);
  page->Table(table.lines, table.num_texts);
}

}  // namespace lextra
