// The tables of a report, which its Markdown and its page both show.
#ifndef LEXTRA_EVALUATOR_REPORT_REPORT_TABLES_H_
#define LEXTRA_EVALUATOR_REPORT_REPORT_TABLES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "evaluator/report/report_data.h"

namespace lextra {

struct TextTable {
  // The first is the header.
  std::vector<std::vector<std::string>> lines;
  size_t num_texts = 0;  // columns of text; those after them are numbers

  bool empty() const { return lines.size() < 2; }
};

// Orderings in the paper (paper_comparison.h) and here.
TextTable OrdersTable(const ReportData& data);
// Every row; columns for seeds only if a series has several.
TextTable RowsTable(const ReportData& data);
TextTable ResolutionTable(const ReportData& data);
// Keys found and bytes copied.
TextTable SyntheticTable(const ReportData& data);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_REPORT_TABLES_H_
