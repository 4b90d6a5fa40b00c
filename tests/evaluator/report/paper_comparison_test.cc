#include "evaluator/report/paper_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "evaluator/report/report_data.h"
#include "tests/evaluator/report/report_example.h"
#include "tests/testing/temporary_folder.h"

namespace lextra {
namespace {

using testing::ExampleResults;
using ::testing::HasSubstr;
using testing::WriteExample;

TEST(CompareOrders, TakesMarginsSeedBySeed) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  // Growth from l to 4l: 0.1 and 0.4 plain, -0.2 and 0 with BCA.
  const double plain[][2] = {{1, 1.1}, {2, 2.4}};
  const double bca[][2] = {{1, 0.8}, {2, 2.0}};
  for (int seed = 0; seed < 2; ++seed) {
    paths.push_back(
        WriteExample(folder / std::to_string(seed),
                     ExampleResults("XPOS", seed,
                                    {{"causal", 128, plain[seed][0]},
                                     {"causal", 512, plain[seed][1]},
                                     {"bca", 128, bca[seed][0]},
                                     {"bca", 512, bca[seed][1]}})));
  }
  const std::vector<ComparedOrder> orders =
      CompareOrders(ReadReportData(paths).value());
  ASSERT_EQ(orders.size(), 3u);
  EXPECT_THAT(orders[0].statement, HasSubstr("xPos with BCA is flat"));
  EXPECT_NEAR(orders[0].margin, -0.1, 1e-12);
  // sd 0.2 / sqrt 2 over two seeds: 0.1
  EXPECT_NEAR(orders[0].standard_error, 0.1, 1e-12);
  EXPECT_EQ(VerdictOf(orders[0]), "confirmed");
  EXPECT_THAT(orders[1].statement, HasSubstr("xPos causal rises"));
  EXPECT_NEAR(orders[1].margin, 0.25, 1e-12);
  EXPECT_EQ(VerdictOf(orders[1]), "not found");  // not beyond 2 x 0.15
  EXPECT_NEAR(orders[2].margin, 0.35, 1e-12);    // at 4l: 0.3 and 0.4
  EXPECT_NEAR(orders[2].standard_error, 0.05, 1e-12);
}

TEST(CompareOrders, ComparesMethodsWhereNothingElseDiffers) {
  const testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  for (const char* method : {"XPOS", "ROPE"}) {
    for (const int width : {32, 64}) {
      nlohmann::json results =
          ExampleResults(method, 1, {{"bca", 512, 1 + 1.0 / width}});
      results["config"]["model"]["hidden_size"] = width;
      paths.push_back(
          WriteExample(folder / absl::StrCat(method, width), results));
    }
  }
  std::vector<std::string> statements;
  for (const ComparedOrder& order :
       CompareOrders(ReadReportData(paths).value())) {
    statements.push_back(order.statement);
    EXPECT_EQ(order.margin, 0) << order.statement;
  }
  EXPECT_THAT(statements,
              ::testing::ElementsAre(
                  "xPos with BCA is better than RoPE with BCA, at 4l "
                  "(RoPE, hidden_size 32; xPos, hidden_size 32)",
                  "xPos with BCA is better than RoPE with BCA, at 4l "
                  "(RoPE, hidden_size 64; xPos, hidden_size 64)"));
}

}  // namespace
}  // namespace lextra
