#include "evaluator/html/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lextra {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ChartSvg, BreaksANameThatIsLongerThanTheChart) {
  Chart chart = {.title = "names", .x_label = "x", .y_label = "y"};
  chart.series = {
      {.name = "xPos, hidden_size 64, num_layers 12, learning_rate 0.0003, "
               "weight_decay 0.1, num_steps 100000",
       .points = {{1, 1, 0, ""}}}};
  const std::string svg = ChartSvg(chart);
  EXPECT_THAT(svg,
              HasSubstr(">xPos, hidden_size 64, num_layers 12, learning_rate "
                        "0.0003,</text>"));
  EXPECT_THAT(svg, HasSubstr(">weight_decay 0.1, num_steps 100000</text>"));
}

TEST(ChartSvg, LeavesGapsWhereThereIsNoNumber) {
  const double nan = std::nan("");
  Chart chart = {.title = "gaps", .x_label = "x", .y_label = "y"};
  chart.series = {{.name = "one",
                   .points = {{1, 1, nan, "a"},
                              {2, nan, nan, "b"},
                              {4, 2, nan, "c"},
                              {8, INFINITY, nan, "d"}}}};
  const std::string svg = ChartSvg(chart);
  EXPECT_THAT(svg, HasSubstr("one: a"));
  EXPECT_THAT(svg, Not(HasSubstr("one: b")));
  EXPECT_THAT(svg, HasSubstr("one: c"));
  EXPECT_THAT(svg, Not(HasSubstr("one: d")));
  for (const char* broken : {"nan", "inf"}) {
    EXPECT_THAT(svg, Not(HasSubstr(broken)));
  }
}

}  // namespace
}  // namespace lextra
