#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "evaluator/report/report.h"
#include "evaluator/report/report_tables.h"

namespace lextra {
namespace {

// Also aligned as plain text: text to the left, numbers to the right.
std::string Markdown(const TextTable& table) {
  std::vector<std::vector<std::string>> lines = table.lines;
  std::vector<size_t> widths(lines[0].size());
  for (std::vector<std::string>& cells : lines) {
    for (size_t i = 0; i < cells.size(); ++i) {
      // Values of settings, such as paths, may be any text.
      cells[i] = absl::StrReplaceAll(cells[i], {{"|", "\\|"}, {"\n", " "}});
      widths[i] = std::max(widths[i], cells[i].size());
    }
  }
  std::string rule;
  for (size_t i = 0; i < widths.size(); ++i) {
    const std::string dashes(widths[i] + 1, '-');
    absl::StrAppend(&rule, "|",
                    i < table.num_texts ? ":" + dashes : dashes + ":");
  }
  std::string text;
  for (const std::vector<std::string>& cells : lines) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string space(widths[i] - cells[i].size(), ' ');
      absl::StrAppend(&text, "| ",
                      i < table.num_texts ? cells[i] + space : space + cells[i],
                      " ");
    }
    absl::StrAppend(&text, "|\n");
    if (&cells == &lines[0]) absl::StrAppend(&text, rule, "|\n");
  }
  return text;
}

// A caption above a table; nothing without rows.
std::string Section(const std::string& caption, const TextTable& table) {
  if (table.empty()) return "";
  return absl::StrCat(caption, "\n\n", Markdown(table), "\n");
}

// An item of a list, in lines of a terminal.
std::string Item(const std::string& text) {
  constexpr size_t kLineLength = 88;
  std::string item = "-";
  size_t length = item.size();
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    const bool breaks = length + 1 + word.size() > kLineLength;
    absl::StrAppend(&item, breaks ? "\n  " : " ", word);
    length = (breaks ? 2 : length + 1) + word.size();
  }
  return item + "\n";
}

// What the columns and the protocols of the rows mean.
std::string Notes(const std::vector<ReportRow>& rows) {
  std::string notes =
      "NLL in nats per token, with its standard error over documents; "
      "keys/token: average\nnumber of keys that a token sees. All lengths of a "
      "protocol score the same documents.\n\n";
  std::set<std::string> protocols;
  for (const ReportRow& row : rows) protocols.insert(row.protocol);
  for (const std::string& protocol : protocols) {
    notes += Item(absl::StrCat(protocol, ": ", ProtocolMeaning(protocol), "."));
  }
  if (std::ranges::any_of(rows, &ReportRow::bytes_are_average)) {
    notes += Item(kAverageBytesNote);
  }
  return notes + "\n";
}

}  // namespace

std::string ReportTables(const ReportData& data) {
  return absl::StrCat(
      Markdown(RowsTable(data)), "\n", Notes(data.rows),
      Section("Attention resolution: mean over heads, then layers, of the mean "
              "scores s[n] of all\ndocuments; spread: the standard deviation "
              "of s beyond the training length.",
              ResolutionTable(data)),
      Section("Synthetic tasks, share of correct answers:",
              SyntheticTable(data)));
}

std::string ReportMarkdown(const ReportData& data, const std::string& title) {
  // A title may contain paths, and a heading is one line.
  std::string heading = title;
  std::ranges::replace_if(heading, absl::ascii_iscntrl, ' ');
  return absl::StrCat(
      "# ", heading, "\n\n",
      Section("Orderings in the paper (l: the training length; margins in nats "
              "per token, with their\nstandard error over seeds):",
              OrdersTable(data)),
      ReportTables(data));
}

}  // namespace lextra
