// lextra report, and its page in a real browser.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "tests/end_to_end/lextra_program.h"
#include "tests/evaluator/report/report_example.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ReportTest : public ::testing::Test {
 protected:
  ReportTest() {
    std::string pattern =
        (fs::temp_directory_path() / "lextra-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ReportTest() override { fs::remove_all(folder_); }

  // Six methods, two masks, five lengths, two seeds, one of them without end.
  Arguments WriteRuns() const {
    Arguments runs;
    for (const char* method :
         {"XPOS", "ROPE", "ALIBI", "SINUSOIDAL", "LEARNED", "NONE"}) {
      for (int seed = 1; seed <= 2; ++seed) {
        std::vector<ExampleRow> rows;
        for (int64_t length = 32; length <= 512; length *= 2) {
          const double growth = std::log2(length / 128.0) / (2 + runs.size());
          rows.push_back({"causal", length, 1.5 + std::abs(growth)});
          rows.push_back({"bca", length, 1.5 - 0.01 * growth});
        }
        rows.back().nll = INFINITY;
        runs.push_back(
            WriteExample(folder_ + "/" + method + std::to_string(seed),
                         ExampleResults(method, seed, rows)));
      }
    }
    return runs;
  }

  std::string folder_;
};

TEST_F(ReportTest, ThePageIsWellFormedAndDrawnByABrowserInLightAndDark) {
  const std::string report = folder_ + "/report";
  RunWell(Lextra(Arguments{"report", "--output=" + report} + WriteRuns()));
  const std::string page = report + "/report.html";
  EXPECT_LT(fs::file_size(page), 1u << 20);
  RunWell({"python3", "-c",
           "import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])",
           page});
  if (RunProcess({"which", "chromium"}, 10).exit_code != 0) {
    GTEST_SKIP() << "chromium is not there (deploy/setup.sh --tests)";
  }
  const Arguments browser = {"chromium",
                             "--headless",
                             "--no-sandbox",
                             "--disable-gpu",
                             "--user-data-dir=" + folder_ + "/profile",
                             "--window-size=1200,1600"};
  const std::string dom =
      RunWell(browser + Arguments{"--dump-dom", "file://" + page}).output;
  EXPECT_THAT(dom, HasSubstr("<svg viewBox="));
  EXPECT_THAT(dom, HasSubstr("<polygon class=\"band c0\""));
  EXPECT_THAT(dom, HasSubstr("All rows"));
  std::vector<std::string> pictures;
  for (const char* scheme : {"1", "0"}) {  // light, dark
    const std::string picture = folder_ + "/" + scheme + ".png";
    RunWell(browser + Arguments{std::string("--blink-settings="
                                            "preferredColorScheme=") +
                                    scheme,
                                "--screenshot=" + picture, "file://" + page});
    pictures.push_back(ReadText(picture));
    EXPECT_GT(pictures.back().size(), 20'000u);
  }
  EXPECT_NE(pictures[0], pictures[1]);
}

TEST_F(ReportTest, PrintsTheHarnesssShape) {
  const Arguments runs = WriteRuns();
  EXPECT_THAT(RunWell(Lextra({"report", "--format=lm-eval", runs[0]})).output,
              HasSubstr("\"xPos_non_overlapping_BCA_128\""));
}

TEST_F(ReportTest, RefusesWhatItCannotMergeInOneLine) {
  const Arguments runs = WriteRuns();
  const auto refuse = [&](const Arguments& arguments, int code,
                          const std::string& says) {
    const ProcessResult result =
        RunProcess(Lextra(Arguments{"report"} + arguments), kLimitSeconds);
    EXPECT_EQ(result.exit_code, code) << result.output;
    EXPECT_THAT(result.output, HasSubstr(says));
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1);
  };
  refuse({}, 2, "no evaluation given");
  refuse(runs, 2, "--output is missing");
  refuse({folder_ + "/nothing"}, 3, "is neither a results.json nor");
  refuse({"--format=pdf", runs[0]}, 2,
         "--format=pdf: expected page or lm-eval");
}

}  // namespace
}  // namespace lextra::testing
