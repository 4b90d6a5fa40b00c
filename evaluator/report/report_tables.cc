#include "evaluator/report/report_tables.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/wilson_interval.h"
#include "evaluator/report/paper_comparison.h"
#include "evaluator/report/report.h"

namespace lextra {
namespace {

std::string PerplexityText(double perplexity) {
  return perplexity < 1e6 || std::isnan(perplexity)
             ? FixedPoint(3, perplexity)
             : absl::StrFormat("%.3e", perplexity);
}

std::vector<std::string> RowCells(const ReportData& data, const ReportRow& row,
                                  bool has_seeds) {
  std::vector<std::string> cells = {ProtocolText(row),
                                    row.label,
                                    row.mask,
                                    absl::StrCat(row.length),
                                    FixedPoint(4, row.nll),
                                    PerplexityText(std::exp(row.nll)),
                                    BitsText(row),
                                    FixedPoint(4, row.standard_error)};
  if (has_seeds) {
    cells.push_back(FixedPoint(4, row.SeedDeviation()));
    cells.push_back(SeedsText(data, row));
  }
  cells.insert(cells.end(),
               {absl::StrCat(row.tokens), absl::StrCat(row.documents),
                FixedPoint(1, row.keys_per_token),
                FixedPoint(0, row.tokens_per_second)});
  return cells;
}

}  // namespace

TextTable OrdersTable(const ReportData& data) {
  TextTable table = {
      .lines = {{"statement", "here", "margin", "std. error", "seeds"}},
      .num_texts = 2};
  for (const ComparedOrder& order : CompareOrders(data)) {
    table.lines.push_back(
        {order.statement, VerdictOf(order), FixedPoint(4, order.margin),
         FixedPoint(4, order.standard_error), absl::StrCat(order.runs)});
  }
  return table;
}

TextTable RowsTable(const ReportData& data) {
  const bool has_seeds = std::ranges::any_of(
      data.series,
      [](const ReportSeries& series) { return series.seeds.size() > 1; });
  std::vector<std::string> head = {"protocol",  "method",    "mask",
                                   "length",    "NLL",       "perplexity",
                                   "bits/byte", "std. error"};
  if (has_seeds) head.insert(head.end(), {"sd of seeds", "seeds"});
  head.insert(head.end(), {"tokens", "documents", "keys/token", "tokens/s"});
  TextTable table = {.lines = {head}, .num_texts = 3};
  for (const ReportRow& row : data.rows) {
    table.lines.push_back(RowCells(data, row, has_seeds));
  }
  return table;
}

TextTable ResolutionTable(const ReportData& data) {
  TextTable table = {.lines = {{"method", "mask", "length", "resolution",
                                "by layer", "spread", "documents", "runs"}},
                     .num_texts = 2};
  for (const ReportResolution& row : data.resolution) {
    std::vector<std::string> layers;
    for (const double value : row.by_layer) {
      layers.push_back(FixedPoint(4, value));
    }
    table.lines.push_back(
        {row.label, row.mask, absl::StrCat(row.length),
         FixedPoint(4, row.resolution), absl::StrJoin(layers, " "),
         row.spread ? FixedPoint(3, *row.spread) : "-",
         absl::StrCat(row.documents), absl::StrCat(row.runs)});
  }
  return table;
}

TextTable SyntheticTable(const ReportData& data) {
  TextTable table = {.lines = {{"task", "method", "mask", "length", "depth",
                                "correct", "95 % interval", "trials"}},
                     .num_texts = 3};
  for (const ReportSynthetic& row : data.synthetic) {
    const Interval interval = WilsonInterval(row.correct, row.trials);
    table.lines.push_back(
        {row.task, row.label, row.mask, absl::StrCat(row.length),
         row.task == "passkey" ? absl::StrFormat("%.2f", row.depth) : "-",
         FixedPoint(3, row.Share()),
         absl::StrFormat("%.3f to %.3f", interval.low, interval.high),
         absl::StrCat(row.trials)});
  }
  return table;
}

}  // namespace lextra
