// The tables of "A Length-Extrapolatable Transformer" (Sun et al. 2022, arXiv
// 2212.10554, tables 2 and 3) next to ours, and the orderings that they show.
#ifndef LEXTRA_EVALUATOR_REPORT_PAPER_COMPARISON_H_
#define LEXTRA_EVALUATOR_REPORT_PAPER_COMPARISON_H_

#include <string>
#include <vector>

#include "evaluator/html/html_page.h"
#include "evaluator/report/report_data.h"

namespace lextra {

// A statement of the paper about perplexities at multiples of the training
// length, checked against ours (non_overlapping). The margin is a difference of
// NLL, mean over runs; its error is the standard error over runs with different
// seeds (documents are the same for all), NaN for one run. Two methods are
// compared if they agree in all settings and targets; several lines of a method
// give several statements, which name them.
struct ComparedOrder {
  std::string statement;
  double margin = 0;
  double standard_error = 0;
  int64_t runs = 0;
  bool holds = false;
};
// "confirmed", "holds, one seed" or "not found".
std::string VerdictOf(const ComparedOrder& order);
// The statements that the report has rows for.
std::vector<ComparedOrder> CompareOrders(const ReportData& data);

// Perplexities at multiples of the training length; empty if our table has no
// such row.
struct PaperRow {
  std::string method;
  std::string mask;  // up to the training length, and beyond
  std::string mask_beyond;
  std::vector<double> multiples;
  std::vector<double> perplexities;
};
const std::vector<PaperRow>& PaperRows();

// The lines of a method (non_overlapping): the first row of each series and set
// of targets.
std::vector<const ReportRow*> LinesOf(const ReportData& data,
                                      const std::string& method);
// The row of `line` with that mask at a multiple of the training length, or
// null.
const ReportRow* FindRow(const ReportData& data, const ReportRow& line,
                         const std::string& mask, double multiple);

// Perplexities of the paper and of rows of the same method, mask and multiple
// of the training length; nothing if there is no such row.
void AppendPaperTables(const ReportData& data, HtmlPage* page);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_REPORT_PAPER_COMPARISON_H_
