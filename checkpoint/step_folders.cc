#include "checkpoint/step_folders.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "base/system_calls.h"
#include "checkpoint/manifest.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kTrashPrefix = ".trash-";
constexpr std::string_view kDamagedPrefix = ".bad-";
constexpr std::string_view kOldPrefix = ".old-";
// The last two: of an AtomicWrite that died.
constexpr std::string_view kLeftOverPrefixes[] = {
    kTemporaryPrefix, kTrashPrefix, "latest.tmp-", "RUN_ID.tmp-"};

// "run" of "run/step-1" and of "run/step-1/".
fs::path RunFolderOf(const std::string& step_folder) {
  const fs::path path(step_folder);
  const fs::path run = path.has_filename() ? path.parent_path()
                                           : path.parent_path().parent_path();
  return run.empty() ? "." : run;
}

// Gives a step folder a name that begins with `prefix`, durably.
absl::StatusOr<std::string> SetAside(const std::string& step_folder,
                                     std::string_view prefix) {
  const fs::path run = RunFolderOf(step_folder);
  const std::string date =
      absl::FormatTime("%Y%m%dT%H%M%E6S", absl::Now(), absl::UTCTimeZone());
  const std::string aside =
      (run / absl::StrCat(std::string(prefix),
                          StepFolderName(StepOf(step_folder).value_or(0)), "-",
                          date))
          .string();
  LEXTRA_RETURN_IF_ERROR(Rename(step_folder, aside));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(run.string()));
  return aside;
}

}  // namespace

std::string StepFolderName(int64_t step) {
  return absl::StrFormat("%s%08d", kStepPrefix, step);
}

std::optional<int64_t> StepOf(const std::string& folder) {
  fs::path path(folder);
  if (!path.has_filename()) path = path.parent_path();  // "run/step-1/"
  const std::string name = path.filename().string();
  if (name.rfind(kStepPrefix, 0) != 0) return std::nullopt;
  const std::string digits = name.substr(kStepPrefix.size());
  int64_t step = 0;
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(digits, &step)) {
    return std::nullopt;
  }
  return step;
}

std::string SaveFolder(const std::string& run_folder, int64_t step,
                       const std::string& save_id) {
  return (fs::path(run_folder) /
          absl::StrFormat("%s%d-%s", kTemporaryPrefix, step, save_id))
      .string();
}

absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(run_folder));
  std::vector<std::pair<int64_t, std::string>> found;
  for (const std::string& name : names) {
    const std::string path = (fs::path(run_folder) / name).string();
    std::error_code error;
    // A link may lead anywhere; our own folders are never links.
    const std::optional<int64_t> step = StepOf(name);
    if (!step) continue;
    const fs::file_status status = fs::symlink_status(path, error);
    if (!fs::status_known(status)) {
      return StorageError(absl::StrCat(path, ": ", error.message()));
    }
    if (fs::is_directory(status)) found.emplace_back(*step, path);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> folders;
  for (auto& [step, path] : found) folders.push_back(std::move(path));
  return folders;
}

absl::StatusOr<std::vector<std::string>> ListDamaged(
    const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(std::vector<std::string> names,
                          ListFolder(run_folder));
  std::erase_if(names, [](const std::string& name) {
    return !name.starts_with(kDamagedPrefix);
  });
  return names;
}

absl::StatusOr<std::string> FindCheckpoint(const std::string& path) {
  std::error_code error;
  if (fs::exists(fs::path(path) / kManifestName, error)) return path;
  const absl::StatusOr<std::vector<std::string>> steps = ListCheckpoints(path);
  if (ExitCodeOf(steps.status()) == ExitCode::kStorage) return steps.status();
  if (!steps.ok()) {
    return CheckpointError(absl::StrCat(steps.status().message()));
  }
  if (!steps->empty()) return steps->back();
  return CheckpointError(absl::StrFormat(
      "%s: no checkpoint here: neither a %s nor a step-* folder", path,
      kManifestName));
}

absl::StatusOr<std::string> SetAsideDamaged(const std::string& step_folder) {
  return SetAside(step_folder, kDamagedPrefix);
}

absl::StatusOr<std::string> SetAsideOld(const std::string& step_folder) {
  return SetAside(step_folder, kOldPrefix);
}

absl::Status DeleteCheckpoint(const std::string& step_folder) {
  const fs::path run = RunFolderOf(step_folder);
  const std::string trash =
      (run / absl::StrCat(std::string(kTrashPrefix),
                          StepFolderName(StepOf(step_folder).value_or(0))))
          .string();
  LEXTRA_RETURN_IF_ERROR(RemoveTree(trash));
  LEXTRA_RETURN_IF_ERROR(Rename(step_folder, trash));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(run.string()));
  sys::KillPoint("trashed");
  return RemoveTree(trash);
}

absl::Status RemoveLeftovers(const std::string& run_folder) {
  absl::StatusOr<std::vector<std::string>> names = ListFolder(run_folder);
  if (!names.ok()) return StorageError(std::string(names.status().message()));
  for (const std::string& name : *names) {
    const bool is_left_over = std::any_of(
        std::begin(kLeftOverPrefixes), std::end(kLeftOverPrefixes),
        [&name](std::string_view prefix) { return name.starts_with(prefix); });
    if (!is_left_over) continue;
    LEXTRA_RETURN_IF_ERROR(RemoveTree((fs::path(run_folder) / name).string()));
  }
  return absl::OkStatus();
}

}  // namespace lextra
