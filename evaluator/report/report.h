// `lextra report`: evaluations as one page, one table, one CSV, or in the shape
// of lm-evaluation-harness.
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_H_

#include <string>

#include "base/number_text.h"
#include "base/status.h"
#include "evaluator/report/report_data.h"

namespace lextra {

// A self-contained XHTML page: style and figures inline, nothing is fetched.
std::string ReportHtml(const ReportData& data, const std::string& title);
// All rows with notes, attention resolution and synthetic tasks, as aligned
// Markdown tables for a terminal.
std::string ReportTables(const ReportData& data);
// The same below a heading and the orderings of the paper.
std::string ReportMarkdown(const ReportData& data, const std::string& title);
std::string ReportCsv(const ReportData& data);
// results -> task -> "bits_per_byte,none", ...; one task per row.
std::string LmEvalJson(const ReportData& data);

// report.html, report.md and report.csv in `folder`, which is created; each
// written atomically.
absl::Status WriteReport(const std::string& folder, const ReportData& data,
                         const std::string& title);

// The seeds of a row: "3", or "2 of 3" if the series has more.
std::string SeedsText(const ReportData& data, const ReportRow& row);
// Bits per byte, with "~" if the bytes are an average, and the note on it.
std::string BitsText(const ReportRow& row);
inline constexpr char kAverageBytesNote[] =
    "~: the tokenizer is unknown here, so every token except the end of text "
    "counts as the data set's average bytes per token.";
// "same_targets, stride 64".
std::string ProtocolText(const ReportRow& row);
// What the protocol ("non_overlapping") scores, in a sentence.
std::string ProtocolMeaning(const std::string& protocol);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_H_
