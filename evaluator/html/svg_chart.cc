#include "evaluator/html/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "evaluator/html/escape_html.h"

namespace lextra {
namespace {

constexpr double kWidth = 560;
constexpr double kPlotHeight = 248;
constexpr double kLeft = 62;
constexpr double kRight = 14;
constexpr double kTop = 34;
constexpr double kLegendTop = 50;  // below the plot
constexpr double kLegendRow = 15;
constexpr double kLegendGlyph = 7;    // of a letter, about
constexpr double kLegendSample = 40;  // before a name

const char* const kDashes[] = {"none", "7 3", "2 3", "9 3 2 3", "5 2", "1 2"};

// If there are more lines than colors, colors repeat with other dashes and
// markers.
constexpr int64_t kColors = 6;
int64_t ColorOf(int64_t style) { return style % kColors; }
const char* DashesOf(int64_t style) {
  return kDashes[(style + style / kColors) % std::size(kDashes)];
}
int64_t MarkerOf(int64_t style) { return (style + style / kColors) % 3; }

bool IsDrawn(const Chart& chart, const ChartPoint& point) {
  return std::isfinite(point.y) && point.x > 0 && (!chart.log_y || point.y > 0);
}

// 1, 2, 5, 10, ..: at least `step`.
double RoundStep(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= step * (1 - 1e-9)) return digit * power;
  }
  return 10 * power;
}

std::string Tick(double value) {
  if (value >= 1e6) return absl::StrFormat("%.0e", value);
  if (std::abs(value) < 1e-12) return "0";
  return absl::StrFormat("%.4g", value);
}

// A power of two, or as k and M.
std::string TokensTick(double x) {
  const auto tokens = static_cast<int64_t>(std::llround(x));
  if (tokens >= 1 << 20 && tokens % (1 << 20) == 0) {
    return absl::StrCat(tokens >> 20, "M");
  }
  if (tokens >= 8192 && tokens % 1024 == 0) {
    return absl::StrCat(tokens >> 10, "k");
  }
  return absl::StrCat(tokens);
}

// A chart being drawn.
class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    SetRangeOfX();
    SetRangeOfY();
  }

  std::string Svg() {
    absl::StrAppendFormat(
        &svg_,
        "<svg viewBox=\"0 0 %g %g\" role=\"img\" class=\"chart\">\n"
        "<title>%s</title>\n<text class=\"heading\" x=\"%g\" "
        "y=\"18\">%s</text>\n",
        kWidth, Height(), EscapeHtml(chart_.title), kLeft,
        EscapeHtml(chart_.title));
    DrawAxes();
    DrawMark();
    for (const ChartSeries& series : chart_.series) DrawBand(series);
    for (const ChartSeries& series : chart_.series) DrawLine(series);
    DrawLegend();
    absl::StrAppend(&svg_, "</svg>\n");
    return svg_;
  }

 private:
  void SetRangeOfX() {
    x_min_ = std::numeric_limits<double>::infinity();
    x_max_ = -x_min_;
    for (const ChartSeries& series : chart_.series) {
      for (const ChartPoint& point : series.points) {
        if (!IsDrawn(chart_, point)) continue;
        x_min_ = std::min(x_min_, std::log2(point.x));
        x_max_ = std::max(x_max_, std::log2(point.x));
      }
    }
    if (!(x_min_ <= x_max_)) x_min_ = x_max_ = 0;
    x_min_ -= 0.15;
    x_max_ += 0.15;
  }

  void SetRangeOfY() {
    Extent extent = {chart_.y_min, chart_.y_max};
    if (extent.max <= extent.min) extent = ExtentOfY(chart_.series);
    y_min_ = OnScale(extent.min);
    y_max_ = OnScale(extent.max);
    const double margin = std::max(0.04 * (y_max_ - y_min_), 1e-6);
    y_min_ -= margin;
    y_max_ += margin;
  }

  double OnScale(double y) const { return chart_.log_y ? std::log10(y) : y; }
  double X(double x) const {
    return kLeft + (std::log2(x) - x_min_) / (x_max_ - x_min_) *
                       (kWidth - kLeft - kRight);
  }
  double YOf(double on_scale) const {
    return bottom_ - (on_scale - y_min_) / (y_max_ - y_min_) * kPlotHeight;
  }
  double Y(double y) const {
    return std::clamp(YOf(OnScale(y)), kTop - 4.0, bottom_ + 4.0);
  }

  // Values on a linear axis, or 1, 2, 5 times powers of ten.
  std::vector<double> TicksOfY() const {
    std::vector<double> ticks;
    if (!chart_.log_y) {
      const double step = RoundStep((y_max_ - y_min_) / 6);
      for (double tick = std::ceil(y_min_ / step) * step; tick <= y_max_;
           tick += step) {
        ticks.push_back(tick);
      }
      return ticks;
    }
    // Fewer digits for many decades, all for less than one.
    const double decades = y_max_ - y_min_;
    if (decades < 0.6) {
      const double step =
          RoundStep((std::pow(10, y_max_) - std::pow(10, y_min_)) / 6);
      for (double tick = std::ceil(std::pow(10, y_min_) / step) * step;
           OnScale(tick) <= y_max_; tick += step) {
        ticks.push_back(tick);
      }
      return ticks;
    }
    for (int power = static_cast<int>(std::floor(y_min_)); power <= y_max_;
         ++power) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        if (decades > 3 && digit > 1) continue;
        const double tick = digit * std::pow(10, power);
        if (OnScale(tick) >= y_min_ && OnScale(tick) <= y_max_) {
          ticks.push_back(tick);
        }
      }
    }
    return ticks;
  }

  void DrawAxes() {
    const double bottom = bottom_;
    for (const double tick : TicksOfY()) {
      const double y = YOf(OnScale(tick));
      absl::StrAppendFormat(
          &svg_,
          "<line class=\"grid\" x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/>"
          "<text class=\"tick\" x=\"%g\" y=\"%.1f\" "
          "text-anchor=\"end\">%s</text>\n",
          kLeft, y, kWidth - kRight, y, kLeft - 6, y + 3.5, Tick(tick));
    }
    const int64_t octaves = static_cast<int64_t>(x_max_ - x_min_) + 1;
    const int64_t every = (octaves + 9) / 10;
    for (auto power = static_cast<int64_t>(std::ceil(x_min_));
         static_cast<double>(power) <= x_max_; power += every) {
      const double value = std::exp2(power);
      absl::StrAppendFormat(
          &svg_,
          "<line class=\"grid\" x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/>"
          "<text class=\"tick\" x=\"%.1f\" y=\"%g\" "
          "text-anchor=\"middle\">%s</text>\n",
          X(value), kTop, X(value), bottom, X(value), bottom + 15,
          TokensTick(value));
    }
    absl::StrAppendFormat(
        &svg_,
        "<rect class=\"axis\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/>"
        "<text class=\"label\" x=\"%g\" y=\"%g\" "
        "text-anchor=\"middle\">%s</text>"
        "<text class=\"label\" transform=\"translate(14 %g) rotate(-90)\" "
        "text-anchor=\"middle\">%s</text>\n",
        kLeft, kTop, kWidth - kLeft - kRight, bottom - kTop,
        (kLeft + kWidth - kRight) / 2, bottom + 31, EscapeHtml(chart_.x_label),
        (kTop + bottom) / 2, EscapeHtml(chart_.y_label));
  }

  void DrawMark() {
    const double mark = chart_.marked_x;
    if (mark <= 0 || std::log2(mark) < x_min_ || std::log2(mark) > x_max_) {
      return;
    }
    // The label goes where there is room for it.
    const bool is_left = X(mark) < kWidth - kRight - 70;
    absl::StrAppendFormat(
        &svg_,
        "<line class=\"mark\" x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/>"
        "<text class=\"tick\" x=\"%.1f\" y=\"%g\" "
        "text-anchor=\"%s\">%s</text>\n",
        X(mark), kTop, X(mark), bottom_, X(mark) + (is_left ? 4 : -4),
        kTop + 12, is_left ? "start" : "end", EscapeHtml(chart_.mark_label));
  }

  void DrawBand(const ChartSeries& series) {
    std::string above;
    std::string below;
    for (const ChartPoint& point : series.points) {
      const double low = point.y - point.error;
      if (!IsDrawn(chart_, point) || !std::isfinite(point.error) ||
          (chart_.log_y && low <= 0)) {
        continue;
      }
      absl::StrAppendFormat(&above, "%.1f,%.1f ", X(point.x),
                            Y(point.y + point.error));
      below = absl::StrFormat("%.1f,%.1f ", X(point.x), Y(low)) + below;
    }
    if (above.empty()) return;
    absl::StrAppendFormat(&svg_,
                          "<polygon class=\"band c%d\" points=\"%s%s\"/>\n",
                          ColorOf(series.style), above, below);
  }

  void DrawLine(const ChartSeries& series) {
    std::string path;
    bool is_open = false;
    for (const ChartPoint& point : series.points) {
      if (!IsDrawn(chart_, point)) {
        is_open = false;
        continue;
      }
      absl::StrAppendFormat(&path, "%s%.1f %.1f", is_open ? "L" : "M",
                            X(point.x), Y(point.y));
      is_open = true;
    }
    absl::StrAppendFormat(
        &svg_, "<path class=\"line c%d\" stroke-dasharray=\"%s\" d=\"%s\"/>\n",
        ColorOf(series.style), DashesOf(series.style), path);
    for (const ChartPoint& point : series.points) {
      if (!IsDrawn(chart_, point)) continue;
      DrawMarker(series.style, X(point.x), Y(point.y),
                 absl::StrCat(series.name, ": ", point.note));
    }
  }

  void DrawMarker(int64_t style, double x, double y, const std::string& note) {
    const std::string title =
        note.empty() ? ""
                     : absl::StrCat("<title>", EscapeHtml(note), "</title>");
    const int64_t color = ColorOf(style);
    switch (MarkerOf(style)) {
      case 0:
        absl::StrAppendFormat(
            &svg_,
            "<circle class=\"marker c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.4\">"
            "%s</circle>\n",
            color, x, y, title);
        break;
      case 1:
        absl::StrAppendFormat(
            &svg_,
            "<rect class=\"marker c%d\" x=\"%.1f\" y=\"%.1f\" width=\"6.4\" "
            "height=\"6.4\">%s</rect>\n",
            color, x - 3.2, y - 3.2, title);
        break;
      default:
        absl::StrAppendFormat(
            &svg_,
            "<polygon class=\"marker c%d\" points=\"%.1f,%.1f %.1f,%.1f "
            "%.1f,%.1f\">%s</polygon>\n",
            color, x, y - 4.2, x + 4, y + 3, x - 4, y + 3, title);
    }
  }

  // As many columns as fit the longest name.
  int64_t LegendColumns() const {
    size_t longest = 0;
    for (const ChartSeries& series : chart_.series) {
      longest = std::max(longest, series.name.size());
    }
    const double column =
        kLegendSample + kLegendGlyph * static_cast<double>(longest);
    return std::max<int64_t>(1, static_cast<int64_t>(PlotWidth() / column));
  }

  // Names longer than the plot are broken at commas.
  static std::vector<std::string> LegendLines(const std::string& name) {
    const auto most =
        static_cast<size_t>((PlotWidth() - kLegendSample) / kLegendGlyph);
    std::vector<std::string> lines;
    for (const absl::string_view part : absl::StrSplit(name, ", ")) {
      if (!lines.empty()) lines.back() += ",";
      if (lines.empty() || lines.back().size() + 1 + part.size() > most) {
        lines.emplace_back(part);
      } else {
        absl::StrAppend(&lines.back(), " ", part);
      }
    }
    return lines;
  }

  // Lines of text of a legend row, the maximum over its names.
  int64_t LegendHeight(int64_t row, int64_t columns) const {
    size_t most = 1;
    const int64_t end =
        std::min<int64_t>((row + 1) * columns, std::ssize(chart_.series));
    for (int64_t place = row * columns; place < end; ++place) {
      most = std::max(most, LegendLines(chart_.series[place].name).size());
    }
    return static_cast<int64_t>(most);
  }

  double Height() const {
    const int64_t columns = LegendColumns();
    int64_t lines = 0;
    for (int64_t row = 0; row * columns < std::ssize(chart_.series); ++row) {
      lines += LegendHeight(row, columns);
    }
    return bottom_ + kLegendTop + kLegendRow * static_cast<double>(lines) - 4;
  }

  void DrawLegend() {
    const int64_t columns = LegendColumns();
    const double column = PlotWidth() / static_cast<double>(columns);
    int64_t place = 0;
    int64_t line = 0;
    for (const ChartSeries& series : chart_.series) {
      const double x = kLeft + static_cast<double>(place % columns) * column;
      const double y =
          bottom_ + kLegendTop - 4 + kLegendRow * static_cast<double>(line);
      absl::StrAppendFormat(
          &svg_,
          "<line class=\"line c%d\" stroke-dasharray=\"%s\" x1=\"%g\" "
          "y1=\"%g\" x2=\"%g\" y2=\"%g\"/>",
          ColorOf(series.style), DashesOf(series.style), x, y, x + 26, y);
      DrawMarker(series.style, x + 13, y, "");
      double text_y = y + 4;
      for (const std::string& text : LegendLines(series.name)) {
        absl::StrAppendFormat(
            &svg_, "<text class=\"tick\" x=\"%g\" y=\"%g\">%s</text>\n", x + 31,
            text_y, EscapeHtml(text));
        text_y += kLegendRow;
      }
      if (++place % columns == 0) {
        line += LegendHeight(place / columns - 1, columns);
      }
    }
  }

  static double PlotWidth() { return kWidth - kLeft - kRight; }

  const Chart& chart_;
  const double bottom_ = kTop + kPlotHeight;  // of the plot
  std::string svg_;
  double x_min_ = 0;  // in octaves
  double x_max_ = 0;
  double y_min_ = 0;  // on the scale of the axis
  double y_max_ = 0;
};

}  // namespace

Extent ExtentOfY(const std::vector<ChartSeries>& series) {
  Extent extent = {std::numeric_limits<double>::infinity(),
                   -std::numeric_limits<double>::infinity()};
  for (const ChartSeries& one : series) {
    for (const ChartPoint& point : one.points) {
      if (!std::isfinite(point.y)) continue;
      extent.min = std::min(extent.min, point.y);
      extent.max = std::max(extent.max, point.y);
    }
  }
  if (!(extent.min <= extent.max)) return {1, 2};
  return extent;
}

std::string ChartSvg(const Chart& chart) { return Drawing(chart).Svg(); }

}  // namespace lextra
