#include "launch/evaluation_outputs.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/io/files.h"
#include "checkpoint/files/step_folders.h"
#include "evaluator/results_subject.h"
#include "launch/arguments/output_paths.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

// In addition to documents.jsonl, which the journal checks.
constexpr const char* kResultFiles[] = {"results.json", "report.html",
                                        "report.md", "report.csv"};

absl::Status CheckNllOut(const std::string& nll_out) {
  LEXTRA_RETURN_IF_ERROR(CheckOutsideCheckpoints("--nll_out", nll_out));
  const fs::path folder = fs::path(AbsolutePath(nll_out)).parent_path();
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    return StorageError(absl::StrCat("--nll_out=", nll_out, ": ",
                                     folder.string(), " is not a folder"));
  }
  return WithContext(CheckCanBeWritten(nll_out), "--nll_out");
}

}  // namespace

std::string ResultsFolder(const EvaluateOptions& options,
                          const std::string& step_folder, int64_t step) {
  if (!options.results_dir.empty()) return options.results_dir;
  if (!options.tokens.empty()) return "";
  return (fs::path(RunFolderOfCheckpoint(step_folder)) / "eval" /
          StepFolderName(step))
      .string();
}

absl::StatusOr<std::unique_ptr<RunLock>> TakeOutputs(
    const std::string& results_folder, const std::string& nll_out,
    const std::string& subject, const EvaluationConfig& evaluation) {
  if (!nll_out.empty()) LEXTRA_RETURN_IF_ERROR(CheckNllOut(nll_out));
  if (results_folder.empty()) return nullptr;
  LEXTRA_RETURN_IF_ERROR(
      CheckOutsideCheckpoints("--results_dir", results_folder));
  LEXTRA_RETURN_IF_ERROR(
      WithContext(MakeFolders(results_folder), "--results_dir"));
  LEXTRA_ASSIGN_OR_RETURN(std::unique_ptr<RunLock> lock,
                          RunLock::AcquireResults(results_folder));
  LEXTRA_RETURN_IF_ERROR(
      CheckSubjectOfResults(results_folder, subject, evaluation));
  for (const char* name : kResultFiles) {
    LEXTRA_RETURN_IF_ERROR(
        WithContext(CheckCanBeWritten(absl::StrCat(results_folder, "/", name)),
                    "--results_dir"));
  }
  return lock;
}

}  // namespace lextra
