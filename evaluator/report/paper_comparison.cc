#include "evaluator/report/paper_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/number_text.h"
#include "evaluator/report/report_series.h"

namespace lextra {
namespace {

// Increase in NLL of a perplexity that has "exploded": twice as large.
const double kExploded = std::log(2.0);

bool IsOfLine(const ReportRow& row, const ReportRow& line) {
  return row.series == line.series && row.targets == line.targets;
}

// A difference between two rows, run by run.
struct Difference {
  double mean = 0;
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  int64_t runs = 0;
};

Difference MeanOf(const std::vector<double>& differences) {
  const auto count = static_cast<double>(differences.size());
  Difference result = {.runs = std::ssize(differences)};
  for (const double difference : differences) result.mean += difference / count;
  if (count < 2) return result;
  double squares = 0;
  for (const double difference : differences) {
    squares += std::pow(difference - result.mean, 2);
  }
  result.standard_error = std::sqrt(squares / (count - 1) / count);
  return result;
}

// Whether a margin holds, given its error.
using Rule = bool (*)(double margin, double error);
bool IsFlatOrFalls(double margin, double error) { return margin <= 2 * error; }
bool Rises(double margin, double error) { return margin > 2 * error; }
bool Explodes(double margin, double error) {
  return margin - 2 * error > kExploded;
}

class Comparison {
 public:
  explicit Comparison(const ReportData& data) : data_(data) {}

  // NLL of (method, mask) at a multiple of the training length minus that at
  // the training length.
  void Growth(const std::string& statement, const std::string& method,
              const std::string& mask, double multiple, Rule rule) {
    Add(statement, {{method, mask, multiple, 1}, {method, mask, 1, -1}}, rule);
  }

  struct Term {
    std::string method;
    std::string mask;
    double multiple;
    double sign;
  };

  // The sum of signed NLLs of one method, or of two with otherwise equal
  // settings.
  void Add(const std::string& statement, const std::vector<Term>& terms,
           Rule rule) {
    const std::string& one = terms.front().method;
    const std::string& other = terms.back().method;
    for (const ReportRow* line : LinesOf(data_, one)) {
      if (other == one) {
        AddFor(absl::StrCat(statement, Differences({line})), {{one, line}},
               terms, rule);
        continue;
      }
      for (const ReportRow* rival : LinesOf(data_, other)) {
        if (line->targets != rival->targets ||
            !AgreeWhereBothApply(data_.series[line->series].settings,
                                 data_.series[rival->series].settings)) {
          continue;
        }
        AddFor(absl::StrCat(statement, Differences({line, rival})),
               {{one, line}, {other, rival}}, terms, rule);
      }
    }
  }

  std::vector<ComparedOrder> Take() { return std::move(orders_); }

 private:
  // " (xPos, hidden_size 64)" if the method alone does not identify the lines.
  static std::string Differences(const std::vector<const ReportRow*>& lines) {
    bool is_method = true;
    std::vector<std::string> labels;
    for (const ReportRow* line : lines) {
      labels.push_back(line->label);
      is_method = is_method && line->label == line->method;
    }
    return is_method ? ""
                     : absl::StrCat(" (", absl::StrJoin(labels, "; "), ")");
  }

  // One difference per run that has all terms.
  void AddFor(const std::string& statement,
              const std::map<std::string, const ReportRow*>& line_of_method,
              const std::vector<Term>& terms, Rule rule) {
    std::vector<const ReportRow*> rows;
    for (const Term& term : terms) {
      rows.push_back(FindRow(data_, *line_of_method.at(term.method), term.mask,
                             term.multiple));
      if (rows.back() == nullptr) return;
    }
    std::vector<double> differences;
    for (const auto& [seeds, unused] : rows[0]->nll_of_run) {
      double sum = 0;
      bool complete = true;
      for (size_t i = 0; i < terms.size(); ++i) {
        const auto it = rows[i]->nll_of_run.find(seeds);
        complete = complete && it != rows[i]->nll_of_run.end();
        if (complete) sum += terms[i].sign * it->second;
      }
      if (complete) differences.push_back(sum);
    }
    if (differences.empty()) return;
    const Difference difference = MeanOf(differences);
    const double error =
        std::isnan(difference.standard_error) ? 0 : difference.standard_error;
    orders_.push_back({.statement = statement,
                       .margin = difference.mean,
                       .standard_error = difference.standard_error,
                       .runs = difference.runs,
                       .holds = rule(difference.mean, error)});
  }

  const ReportData& data_;
  std::vector<ComparedOrder> orders_;
};

}  // namespace

std::string VerdictOf(const ComparedOrder& order) {
  if (!order.holds) return "not found";
  return order.runs > 1 ? "confirmed" : "holds, one seed";
}

std::vector<ComparedOrder> CompareOrders(const ReportData& data) {
  Comparison comparison(data);
  comparison.Growth("xPos with BCA is flat or falls from l to 4l", "xPos",
                    "BCA", 4, IsFlatOrFalls);
  comparison.Growth("RoPE with BCA is flat or falls from l to 4l", "RoPE",
                    "BCA", 4, IsFlatOrFalls);
  comparison.Growth("xPos causal rises from l to 4l", "xPos", "causal", 4,
                    Rises);
  for (const char* method : {"RoPE", "sinusoidal"}) {
    // Small models take longer to break: the second multiple is beyond the
    // paper.
    for (const int multiple : {4, 16}) {
      comparison.Growth(
          absl::StrCat(method, " causal explodes from l to ", multiple,
                       "l (perplexity more than doubles)"),
          method, "causal", multiple, Explodes);
    }
  }
  comparison.Add("xPos causal rises less than RoPE causal does, from l to 4l",
                 {{"RoPE", "causal", 4, 1},
                  {"RoPE", "causal", 1, -1},
                  {"xPos", "causal", 4, -1},
                  {"xPos", "causal", 1, 1}},
                 Rises);
  comparison.Add("xPos is better with BCA than causal, at 4l",
                 {{"xPos", "causal", 4, 1}, {"xPos", "BCA", 4, -1}}, Rises);
  comparison.Add("RoPE is better with BCA than causal, at 4l",
                 {{"RoPE", "causal", 4, 1}, {"RoPE", "BCA", 4, -1}}, Rises);
  comparison.Add("ALiBi is better causal than with BCA, at 4l",
                 {{"ALiBi", "BCA", 4, 1}, {"ALiBi", "causal", 4, -1}}, Rises);
  comparison.Add("xPos with BCA is better than RoPE with BCA, at 4l",
                 {{"RoPE", "BCA", 4, 1}, {"xPos", "BCA", 4, -1}}, Rises);
  comparison.Add("xPos with BCA is better than ALiBi causal, at 4l",
                 {{"ALiBi", "causal", 4, 1}, {"xPos", "BCA", 4, -1}}, Rises);
  return comparison.Take();
}

const std::vector<PaperRow>& PaperRows() {
  static const auto* rows = new std::vector<PaperRow>{
      {"sinusoidal",
       "causal",
       "causal",
       {.25, .5, 1, 2, 4},
       {46.34, 36.39, 29.94, 132.63, 1283.79}},
      {"ALiBi",
       "causal",
       "causal",
       {.25, .5, 1, 2, 4},
       {37.66, 29.92, 24.99, 23.14, 24.26}},
      {"RoPE",
       "causal",
       "causal",
       {.25, .5, 1, 2, 4},
       {38.09, 30.38, 25.52, 73.6, 294.45}},
      {"xPos",
       "causal",
       "BCA",
       {.25, .5, 1, 2, 4},
       {34.3, 27.55, 23.31, 21.6, 20.73}},
      {"RoPE", "BCA", "BCA", {2, 4}, {25.57, 25.65}},
      {"ALiBi", "BCA", "BCA", {2, 4}, {24.6, 25.37}},
      {"xPos", "causal", "causal", {2, 4}, {22.56, 28.43}}};
  return *rows;
}

std::vector<const ReportRow*> LinesOf(const ReportData& data,
                                      const std::string& method) {
  std::vector<const ReportRow*> lines;
  for (const ReportRow& row : data.rows) {
    if (row.protocol != "non_overlapping" || row.method != method) continue;
    if (std::ranges::none_of(lines, [&](const ReportRow* line) {
          return IsOfLine(row, *line);
        })) {
      lines.push_back(&row);
    }
  }
  return lines;
}

const ReportRow* FindRow(const ReportData& data, const ReportRow& line,
                         const std::string& mask, double multiple) {
  for (const ReportRow& row : data.rows) {
    if (row.protocol == "non_overlapping" && IsOfLine(row, line) &&
        row.mask == mask &&
        static_cast<double>(row.length) ==
            multiple * static_cast<double>(data.training_length)) {
      return &row;
    }
  }
  return nullptr;
}

namespace {

using Cells = std::vector<std::string>;

// Lengths in multiples of the training length.
constexpr double kMultiples[] = {.25, .5, 1., 2., 4.};

Cells PaperCells(const PaperRow& paper) {
  Cells cells = {paper.method, paper.mask, paper.mask_beyond, "paper"};
  for (const double multiple : kMultiples) {
    const auto at = std::ranges::find(paper.multiples, multiple);
    cells.push_back(
        at == paper.multiples.end()
            ? ""
            : FixedPoint(2, paper.perplexities[at - paper.multiples.begin()]));
  }
  return cells;
}

Cells OurCells(const ReportData& data, const PaperRow& paper,
               const ReportRow& line) {
  const std::string differences = line.Differences();
  Cells cells = {
      "", "", "",
      differences.empty() ? "here" : absl::StrCat("here: ", differences)};
  for (const double multiple : kMultiples) {
    const ReportRow* row = FindRow(
        data, line, multiple > 1 ? paper.mask_beyond : paper.mask, multiple);
    cells.push_back(row == nullptr ? "" : FixedPoint(3, std::exp(row->nll)));
  }
  return cells;
}

}  // namespace

void AppendPaperTables(const ReportData& data, HtmlPage* page) {
  std::vector<Cells> lines = {{"method", "mask up to l", "mask beyond", "whose",
                               "l/4", "l/2", "l", "2l", "4l"}};
  bool any = false;
  for (const PaperRow& paper : PaperRows()) {
    lines.push_back(PaperCells(paper));
    for (const ReportRow* line : LinesOf(data, paper.method)) {
      lines.push_back(OurCells(data, paper, *line));
      any = any || std::ranges::any_of(
                       std::span(lines.back()).subspan(4),
                       [](const std::string& cell) { return !cell.empty(); });
    }
  }
  if (!any) return;
  page->Heading("The paper's tables and ours");
  page->Paragraph(
      "Perplexities of \"A Length-Extrapolatable Transformer\" (Sun et al. "
      "2022, arXiv 2212.10554; 24 layers, l = 1024, arXiv articles) and those "
      "here, non_overlapping. Orderings can be compared, values cannot: "
      "tokenizer, corpus and model differ.");
  page->Table(lines, /*num_texts=*/4);
}

}  // namespace lextra
