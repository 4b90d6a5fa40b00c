// lextra report: evaluations of one or more runs as one page and one table.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "evaluator/report/report.h"
#include "launch/arguments/command_line.h"
#include "launch/arguments/output_paths.h"
#include "launch/commands.h"

namespace lextra {
namespace {

struct ReportOptions {
  std::string output;
  std::string title = "Length extrapolation";
  std::string format = "page";
};

CommandLine MakeCommandLine(ReportOptions* options) {
  CommandLine line(
      "report RUN ...",
      R"(Merges results of `lextra evaluate` into one self-contained page
(report.html), one Markdown table (report.md) and one CSV file (report.csv).
A RUN is a results folder, its results.json, or a run folder: there the newest
step in eval/ is used. Runs that differ only in their seeds form one series,
with the standard deviation over seeds; other runs are separate series, labeled
by what differs ("xPos, hidden_size 64"). Paths, the layout of ranks and other
settings that change no number do not count as a difference. Two runs with equal
seeds are an error.)");
  line.AddFlag("output", &options->output,
               "output folder; default: next to the results of a single RUN");
  line.AddFlag("title", &options->title, "title of the page");
  line.AddFlag("format", &options->format,
               "page, or lm-eval: print the results in the format of\n"
               "lm-evaluation-harness");
  return line;
}

// Next to the results if no folder was given.
std::string OutputFolder(const std::string& output, const ReportData& data) {
  if (!output.empty()) return output;
  const std::string parent =
      std::filesystem::path(data.runs[0].path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::Status RunReport(const std::vector<std::string>& arguments) {
  ReportOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_ASSIGN_OR_RETURN(const bool helped, line.ParseOrHelp(arguments));
  if (helped) return absl::OkStatus();
  const std::vector<std::string>& runs = line.rest();
  if (runs.empty()) {
    return UsageError("no evaluation given; usage: lextra report RUN ...");
  }
  if (options.format != "page" && options.format != "lm-eval") {
    return UsageError(absl::StrCat("--format=", options.format,
                                   ": expected page or lm-eval"));
  }
  if (options.output.empty() && runs.size() > 1) {
    return UsageError(
        "--output is missing: expected a folder for the merged report");
  }
  if (!options.output.empty()) {
    LEXTRA_RETURN_IF_ERROR(CheckOutsideCheckpoints("--output", options.output));
  }
  LEXTRA_ASSIGN_OR_RETURN(const ReportData data, ReadReportData(runs));
  if (options.format == "lm-eval") {
    PrintResult(LmEvalJson(data));
    return absl::OkStatus();
  }
  const std::string folder = OutputFolder(options.output, data);
  LEXTRA_RETURN_IF_ERROR(WriteReport(folder, data, options.title));
  PrintResult(absl::StrCat(
      "Wrote ", folder, "/report.html, report.md and report.csv: ",
      data.rows.size(), " rows of ", data.runs.size(), " evaluations\n"));
  return absl::OkStatus();
}

}  // namespace lextra
