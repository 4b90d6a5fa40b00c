// A line chart as inline SVG: no script, no font, nothing external. Colors come
// from the page's style sheet (classes c0, c1, ..; axis, grid, mark), for
// light, dark and print; lines also differ in dashes and markers.
#ifndef LEXTRA_EVALUATOR_HTML_SVG_CHART_H_
#define LEXTRA_EVALUATOR_HTML_SVG_CHART_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lextra {

struct ChartPoint {
  double x = 0;
  double y = 0;
  double error = 0;  // half of the band; NaN for none
  std::string note;  // tooltip
};

struct ChartSeries {
  std::string name;
  int64_t style = 0;  // the same for the same thing on all charts
  std::vector<ChartPoint> points = {};
};

struct Chart {
  std::string title;
  std::string x_label;  // the axis is logarithmic, base 2
  std::string y_label;
  bool log_y = false;
  double marked_x = 0;  // a dashed line there; 0: none
  std::string mark_label = "";
  std::vector<ChartSeries> series = {};
  // Shared by all charts of a figure; if max <= min, this chart's own.
  double y_min = 0;
  double y_max = 0;
};

// The smallest and largest y of finite points. (Bands beyond are clipped.)
struct Extent {
  double min = 0;
  double max = 0;
};
Extent ExtentOfY(const std::vector<ChartSeries>& series);

// Non-finite points are gaps, and so are those with x <= 0 or, on a logarithmic
// axis, y <= 0.
std::string ChartSvg(const Chart& chart);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_HTML_SVG_CHART_H_
