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
      "Merges what `lextra evaluate` found into one self-contained page "
      "(report.html), one\nMarkdown table (report.md) and one CSV "
      "(report.csv). "
      "A RUN is a results folder, its\nresults.json, or a run folder, of which "
      "the results of the newest step in eval/ count.\nRuns whose "
      "configurations and steps differ in their seeds alone are one series, "
      "with\nthe deviation between seeds; others are series of their own, "
      "whose "
      "labels say in what\nthey differ (\"xPos, hidden_size 64\"). Paths of "
      "evaluated "
      "data, the layout of ranks and what\nelse changes no number are no "
      "difference. Two runs with equal seeds are refused.");
  line.AddFlag("output", &options->output,
               "folder for the files; beside the results of a single RUN by "
               "default");
  line.AddFlag("title", &options->title, "of the page");
  line.AddFlag("format", &options->format,
               "page, or lm-eval: prints the results in the shape of "
               "lm-evaluation-harness");
  return line;
}

// Beside the results where no folder was asked for.
std::string OutputFolder(const std::string& output, const ReportData& data) {
  if (!output.empty()) return output;
  const std::string beside =
      std::filesystem::path(data.runs[0].path).parent_path().string();
  return beside.empty() ? "." : beside;
}

}  // namespace

absl::Status RunReport(const std::vector<std::string>& arguments) {
  ReportOptions options;
  CommandLine line = MakeCommandLine(&options);
  LEXTRA_RETURN_IF_ERROR(line.Parse(arguments));
  if (line.help_wanted()) {
    PrintResult(line.Help());
    return absl::OkStatus();
  }
  const std::vector<std::string>& runs = line.rest();
  if (runs.empty()) {
    return UsageError("which evaluations? lextra report RUN ...");
  }
  if (options.format != "page" && options.format != "lm-eval") {
    return UsageError(
        absl::StrCat("--format=", options.format, ": page or lm-eval"));
  }
  if (options.output.empty() && runs.size() > 1) {
    return UsageError("--output is missing: a folder for the merged report");
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
