// `lextra report`: evaluations as one page, one table, one CSV, or in the shape
// of lm-evaluation-harness.
#ifndef LEXTRA_EVALUATOR_REPORT_H_
#define LEXTRA_EVALUATOR_REPORT_H_

#include <string>

#include "base/status.h"
#include "evaluator/report_data.h"

namespace lextra {

// A self-contained XHTML page: style and figures inline, nothing is fetched.
std::string ReportHtml(const ReportData& data, const std::string& title);
// The orders of the paper and all rows, as Markdown tables.
std::string ReportMarkdown(const ReportData& data, const std::string& title);
std::string ReportCsv(const ReportData& data);
// results -> task -> "bits_per_byte,none", ...; one task a row.
std::string LmEvalJson(const ReportData& data);

// report.html, report.md and report.csv in `folder`, which is made, each
// atomically.
absl::Status WriteReport(const std::string& folder, const ReportData& data,
                         const std::string& title);

// "-" for a NaN, "inf".
std::string FixedPoint(int digits, double value);
// "same_targets, stride 64".
std::string ProtocolText(const ReportRow& row);
// "non_overlapping": what the protocol scores, in a sentence.
std::string ProtocolMeaning(const std::string& protocol);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_H_
