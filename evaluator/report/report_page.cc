// The page of `lextra report`.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "evaluator/html/html_page.h"
#include "evaluator/html/svg_chart.h"
#include "evaluator/report/paper_comparison.h"
#include "evaluator/report/report.h"
#include "evaluator/report/report_names.h"
#include "evaluator/report/report_tables.h"
#include "evaluator/report/report_tasks.h"

namespace lextra {
namespace {

using Rows = std::vector<const ReportRow*>;

class Page {
 public:
  Page(const ReportData& data, const std::string& title)
      : data_(data), page_(title) {
    for (const ReportRow& row : data.rows) StyleOf(row.label);
    for (const ReportResolution& row : data.resolution) StyleOf(row.label);
  }

  std::string Html() {
    Head();
    LengthFigures();
    Orders();
    GainFigures();
    PlaceFigures();
    Resolution();
    AppendSyntheticTasks(data_, &page_);
    AppendPaperTables(data_, &page_);
    AllRows();
    Runs();
    return page_.Text();
  }

 private:
  void Head() {
    std::set<std::string> data_sets;
    std::set<std::string> tokenizers;
    for (const ReportRun& run : data_.runs) {
      data_sets.insert(absl::StrFormat("%s (%d documents, %d tokens)", run.data,
                                       run.data_documents, run.data_tokens));
      tokenizers.insert(run.tokenizer);
    }
    page_.Paragraph(absl::StrFormat(
        "%d evaluation(s) on %s; tokenizer %s; trained on samples of l = %s "
        "tokens.",
        data_.runs.size(), absl::StrJoin(data_sets, ", "),
        absl::StrJoin(tokenizers, ", "), absl::StrCat(data_.training_length)));
  }

  void LengthFigures() {
    std::map<std::string, Rows> by_protocol;
    for (const ReportRow& row : data_.rows) {
      if (row.protocol != "streaming" && row.protocol != "same_targets") {
        by_protocol[ProtocolText(row)].push_back(&row);
      }
    }
    for (const auto& [protocol, rows] : by_protocol) {
      page_.Heading("Perplexity by length: " + protocol);
      Figure(
          rows, "evaluated length, tokens", "perplexity", /*log_y=*/true,
          [](const ReportRow& row) {
            const double error = Error(row);
            ChartPoint point = {.x = static_cast<double>(row.length),
                                .y = std::exp(row.nll),
                                .error = std::exp(row.nll) * error,
                                .note = Note(row)};
            return std::vector<ChartPoint>{point};
          },
          absl::StrCat(protocol, ": ", ProtocolMeaning(rows[0]->protocol), ". ",
                       Counts(rows), " ", kBandNote));
    }
  }

  void Orders() {
    const TextTable table = OrdersTable(data_);
    if (table.empty()) return;
    page_.Heading("What the paper found and what was found here");
    page_.Paragraph(
        "Orderings are compared, not values: model, corpus and scale differ. "
        "Margins are differences of NLL in nats per token (non_overlapping), "
        "means over seeds with their standard error; a statement is confirmed "
        "if its margin exceeds two standard errors, and only said to hold if "
        "there is one seed.");
    page_.Table(table.lines, table.num_texts);
  }

  void GainFigures() {
    std::map<std::string, Rows> by_protocol;
    for (const ReportRow& row : data_.rows) {
      if (row.protocol == "same_targets") {
        by_protocol[ProtocolText(row)].push_back(&row);
      }
    }
    for (const auto& [protocol, rows] : by_protocol) GainFigure(protocol, rows);
  }

  // Rows of one stride.
  void GainFigure(const std::string& protocol, const Rows& rows) {
    std::map<std::pair<std::string, std::string>, const ReportRow*> shortest;
    for (const ReportRow* row : rows) {
      const ReportRow*& first = shortest[{row->label, row->mask}];
      if (first == nullptr || row->length < first->length) first = row;
    }
    page_.Heading("What more context is worth: " + protocol);
    Figure(
        rows, "context, tokens", "NLL minus NLL at the shortest, nats",
        /*log_y=*/false,
        [&](const ReportRow& row) {
          const ReportRow gain =
              DifferenceOf(row, *shortest.at({row.label, row.mask}));
          return std::vector<ChartPoint>{{.x = static_cast<double>(row.length),
                                          .y = gain.nll,
                                          .error = gain.SeedDeviation(),
                                          .note = Note(row)}};
        },
        absl::StrCat(protocol, ": ", ProtocolMeaning("same_targets"), ". ",
                     Counts(rows),
                     " Below 0 the model uses the longer context. Differences "
                     "are taken per seed; bands: their standard deviation "
                     "over seeds."));
  }

  void PlaceFigures() {
    std::map<std::string, int64_t> longest;
    for (const ReportRow& row : data_.rows) {
      if (row.by_place.empty()) continue;
      int64_t& length = longest[row.protocol];
      length = std::max(length, row.length);
    }
    for (const auto& [protocol, length] : longest) {
      Rows rows;
      for (const ReportRow& row : data_.rows) {
        if (row.protocol == protocol && !row.by_place.empty() &&
            (row.length == length || protocol == "streaming")) {
          rows.push_back(&row);
        }
      }
      page_.Heading(absl::StrCat("NLL by position in a piece: ", protocol,
                                 " at ", length));
      Figure(
          rows, "position in the piece, tokens", "NLL, nats per token",
          /*log_y=*/false,
          [](const ReportRow& row) {
            std::vector<ChartPoint> points;
            for (const ReportPlace& place : row.by_place) {
              if (place.first < 4) continue;  // the cold start hides the rest
              points.push_back(
                  {.x = std::sqrt(static_cast<double>(place.first) *
                                  static_cast<double>(place.last + 1)),
                   .y = place.nll,
                   .error = std::numeric_limits<double>::quiet_NaN(),
                   .note = absl::StrFormat(
                       "positions %d to %d: %.4f nats, %d seed(s)", place.first,
                       place.last, place.nll, place.runs)});
            }
            return points;
          },
          absl::StrCat(
              "Means over targets whose inputs are at positions 2^k to "
              "2^(k+1) - 1, starting at 4. ",
              Counts(rows)));
    }
  }

  void Resolution() {
    if (data_.resolution.empty()) return;
    page_.Heading("Attention resolution");
    page_.Paragraph(
        "R of the mean score s[n] at distance n: s averaged over documents "
        "first, R taken for each head and layer, then means over heads and "
        "layers (equations 3 and 11 of the paper; at most 1). Spread: the "
        "standard deviation of s beyond l.");
    const TextTable table = ResolutionTable(data_);
    page_.Table(table.lines, table.num_texts);
    ResolutionFigure();
  }

  void ResolutionFigure() {
    std::map<std::pair<int64_t, std::string>, Chart> charts;
    for (const ReportResolution& row : data_.resolution) {
      Chart& chart = charts[{row.length, row.mask}];
      ChartSeries series = {.name = row.label, .style = StyleOf(row.label)};
      for (size_t i = 0; i < row.distances.size(); ++i) {
        series.points.push_back(
            {.x = static_cast<double>(row.distances[i]),
             .y = row.mean_scores[i],
             .error = std::numeric_limits<double>::quiet_NaN(),
             .note = absl::StrFormat("s[%d] = %.3f", row.distances[i],
                                     row.mean_scores[i])});
      }
      chart.series.push_back(std::move(series));
    }
    page_.BeginFigure();
    for (auto& [key, chart] : charts) {
      chart.title = absl::StrCat(key.second, ", ", key.first, " tokens");
      chart.x_label = "distance n, tokens";
      chart.y_label = "s[n]";
      Mark(&chart);
      page_.Panel(chart);
    }
    page_.EndFigure(
        "Mean pre-softmax score by distance, mean over heads and layers.");
  }

  void AllRows() {
    page_.Heading("All rows");
    const TextTable table = RowsTable(data_);
    page_.Table(table.lines, table.num_texts);
    page_.Paragraph(
        "NLL in nats per token, mean over seeds; std. error: of one run, over "
        "documents; keys/token: average number of keys that a scored token "
        "sees; tokens/s: \"-\" where ranks or threads differed between runs. "
        "Runs that differ in more than their seeds are separate lines, named "
        "by their differences.");
    if (std::ranges::any_of(data_.rows, &ReportRow::bytes_are_average)) {
      page_.Paragraph(kAverageBytesNote);
    }
  }

  void Runs() {
    page_.Heading("How these numbers were made");
    for (const ReportRun& run : data_.runs) {
      page_.Paragraph(
          absl::StrCat(
              LabelText(run.method, data_.series[run.series].differences),
              ", seeds ", run.init_seed, " and ", run.shuffle_seed, ", step ",
              run.step, " of ", run.checkpoint, "; ", run.date),
          run.command);
    }
    std::set<std::string> versions;
    for (const ReportRun& run : data_.runs) versions.insert(run.versions);
    page_.Paragraph(absl::StrJoin(versions, "; "));
  }

  static constexpr char kWithScaling[] = " with RoPE scaling";
  static constexpr char kBandNote[] =
      "Bands: two standard deviations over seeds, or two standard errors over "
      "documents for one seed.";

  // Half of a band, in nats.
  static double Error(const ReportRow& row) {
    const double deviation = row.SeedDeviation();
    return 2 * (std::isnan(deviation) ? row.standard_error : deviation);
  }

  static std::string Note(const ReportRow& row) {
    return absl::StrFormat(
        "%d tokens: NLL %s (std. error %s), perplexity %s, %s bits/byte, %s "
        "keys per token, %d seed(s)",
        row.length, FixedPoint(4, row.nll), FixedPoint(4, row.standard_error),
        FixedPoint(3, std::exp(row.nll)), BitsText(row),
        FixedPoint(1, row.keys_per_token), row.nll_of_run.size());
  }

  static std::string Counts(const Rows& rows) {
    std::set<int64_t> tokens;
    std::set<int64_t> documents;
    std::set<size_t> seeds;
    for (const ReportRow* row : rows) {
      tokens.insert(row->tokens);
      documents.insert(row->documents);
      seeds.insert(row->nll_of_run.size());
    }
    const auto range = [](const auto& numbers) {
      return numbers.size() == 1
                 ? absl::StrCat(*numbers.begin())
                 : absl::StrCat(*numbers.begin(), " to ", *numbers.rbegin());
    };
    return absl::StrCat(range(tokens), " tokens of ", range(documents),
                        " documents per row; ", range(seeds), " seed(s).");
  }

  // One panel per mask, one line per label. Masks with bounded context share a
  // y axis. Masks with RoPE scaling share a panel, in which labels and scalings
  // are lines.
  template <typename PointsOf>
  void Figure(const Rows& rows, const std::string& x_label,
              const std::string& y_label, bool log_y, PointsOf points_of,
              const std::string& caption) {
    std::map<std::string, std::vector<std::pair<std::string, ChartSeries>>>
        panels;
    std::vector<std::string> order;
    for (const ReportRow* row : rows) {
      const std::string mask = UnscaledMask(row->mask);
      const bool is_scaled = mask != row->mask;
      const std::string panel = is_scaled ? mask + kWithScaling : mask;
      const std::string name =
          is_scaled ? row->label + row->mask.substr(mask.size()) : row->label;
      auto& lines = panels[panel];
      if (lines.empty()) order.push_back(panel);
      auto line =
          std::find_if(lines.begin(), lines.end(),
                       [&](const auto& one) { return one.first == name; });
      if (line == lines.end()) {
        const int64_t style =
            is_scaled ? std::ssize(lines) : StyleOf(row->label);
        lines.push_back({name, {.name = name, .style = style}});
        line = lines.end() - 1;
      }
      for (const ChartPoint& point : points_of(*row)) {
        line->second.points.push_back(point);
      }
    }
    // Plain attention may go far beyond the rest: it has its own axis.
    std::vector<ChartSeries> all;
    for (const auto& [panel, lines] : panels) {
      if (HasOwnAxis(panel)) continue;
      for (const auto& [name, series] : lines) all.push_back(series);
    }
    const Extent extent = ExtentOfY(all);
    page_.BeginFigure();
    for (const std::string& panel : order) {
      Chart chart = {.title = panel,
                     .x_label = x_label,
                     .y_label = y_label,
                     .log_y = log_y,
                     .y_min = HasOwnAxis(panel) ? 0 : extent.min,
                     .y_max = HasOwnAxis(panel) ? 0 : extent.max};
      Mark(&chart);
      for (const auto& [name, series] : panels[panel]) {
        chart.series.push_back(series);
      }
      page_.Panel(chart);
    }
    page_.EndFigure(caption);
  }

  static bool HasOwnAxis(const std::string& panel) {
    return panel.starts_with("causal");
  }

  void Mark(Chart* chart) const {
    chart->marked_x = static_cast<double>(data_.training_length);
    chart->mark_label = absl::StrCat("l = ", data_.training_length);
  }

  // Labels get styles in order.
  int64_t StyleOf(const std::string& label) {
    return styles_.emplace(label, std::ssize(styles_)).first->second;
  }

  const ReportData& data_;
  std::map<std::string, int64_t> styles_;
  HtmlPage page_;
};

}  // namespace

std::string ReportHtml(const ReportData& data, const std::string& title) {
  return Page(data, title).Html();
}

}  // namespace lextra
