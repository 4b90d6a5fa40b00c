#include "checkpoint/files/step_folders.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/io/files.h"
#include "base/io/system_calls.h"
#include "base/log.h"
#include "checkpoint/files/manifest.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kTrashPrefix = ".trash-";
constexpr std::string_view kDamagedPrefix = ".bad-";
constexpr std::string_view kOldPrefix = ".old-";
constexpr std::string_view kFailedPrefix = ".failed-";
constexpr char kReasonName[] = "WHY.txt";
constexpr size_t kSaveIdDigits = 32;
// What AtomicWrite replaces here.
constexpr std::string_view kReplacedFiles[] = {kLatestName, "RUN_ID"};

// "run/step-1" of "run/step-1/": the slash would resolve a link to its target.
fs::path WithoutSlash(const std::string& step_folder) {
  const fs::path path(step_folder);
  return path.has_filename() ? path : path.parent_path();
}

// "run" of "run/step-1".
fs::path RunFolderOf(const fs::path& step_folder) {
  const fs::path run = step_folder.parent_path();
  return run.empty() ? "." : run;
}

bool HasDigits(std::string_view text, const char* digits) {
  return !text.empty() && text.find_first_not_of(digits) == text.npos;
}

// Whether this is the name of a file in a step folder, or of one being written.
bool IsFileOfCheckpoint(std::string_view name) {
  // shard-00000-of-00004.safetensors
  constexpr char kDigits[] = "0123456789";
  constexpr std::string_view kOpening = "shard-";
  constexpr std::string_view kMiddle = "-of-";
  constexpr std::string_view kEnd = ".safetensors";
  if (name == kManifestName || name == kVerifiedName || name == kReasonName) {
    return true;
  }
  if (IsTemporaryNameOf(name, kReasonName)) return true;
  if (!name.starts_with(kOpening) || !name.ends_with(kEnd)) return false;
  name.remove_prefix(kOpening.size());
  name.remove_suffix(kEnd.size());
  const size_t middle = name.find(kMiddle);
  return middle != name.npos && HasDigits(name.substr(0, middle), kDigits) &&
         HasDigits(name.substr(middle + kMiddle.size()), kDigits);
}

// The path of something in a folder that is not part of a checkpoint; empty if
// everything is. A link is not one of our folders.
absl::StatusOr<std::string> FindStranger(const std::string& folder) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(folder, error);
  if (!fs::exists(status)) return std::string();
  if (!fs::is_directory(status)) return folder;
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(folder));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    const fs::file_status entry = fs::symlink_status(path, error);
    const bool is_file = fs::is_regular_file(entry) || fs::is_symlink(entry);
    if (!is_file || !IsFileOfCheckpoint(name)) return path;
  }
  return std::string();
}

// Removes a folder that only a save or a deletion can have left; one that
// contains anything else stays.
absl::Status RemoveOwn(const std::string& folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::string stranger, FindStranger(folder));
  if (stranger.empty()) return RemoveTree(folder);
  LogWarning("%s was not removed: %s is not part of a checkpoint", folder,
             stranger);
  return absl::OkStatus();
}

// .tmp-<step>-<save id>
bool IsSaveFolder(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix)) return false;
  name.remove_prefix(kTemporaryPrefix.size());
  const size_t dash = name.find('-');
  return dash != name.npos && HasDigits(name.substr(0, dash), "0123456789") &&
         name.size() - dash - 1 == kSaveIdDigits &&
         HasDigits(name.substr(dash + 1), "0123456789abcdef");
}

// .trash-step-00000100
bool IsTrash(std::string_view name) {
  if (!name.starts_with(kTrashPrefix)) return false;
  name.remove_prefix(kTrashPrefix.size());
  const std::optional<int64_t> step = StepOf(std::string(name));
  return step && name == StepFolderName(*step);
}

// PREFIXstep-.., with any date or note of a person as suffix.
bool IsTraceOfStep(const std::string& name, std::string_view prefix) {
  return name.starts_with(std::string(prefix) + std::string(kStepPrefix));
}

// .failed-step-00000100-<date>
bool IsFailedSave(std::string_view name) {
  if (!name.starts_with(kFailedPrefix)) return false;
  name.remove_prefix(kFailedPrefix.size());
  const std::string_view step = name.substr(0, name.rfind('-'));
  return StepOf(std::string(step)).has_value() && step.size() < name.size() &&
         HasDigits(name.substr(step.size() + 1), "0123456789T.");
}

// Gives a step folder, or a link in its place, a name that begins with
// `prefix`, durably.
absl::StatusOr<std::string> SetAside(const std::string& folder,
                                     std::string_view prefix) {
  const fs::path step_folder = WithoutSlash(folder);
  const fs::path run = RunFolderOf(step_folder);
  const std::string date = UtcTimeForNames();
  const std::string aside =
      (run / absl::StrCat(std::string(prefix),
                          StepFolderName(StepOf(folder).value_or(0)), "-",
                          date))
          .string();
  LEXTRA_RETURN_IF_ERROR(Rename(step_folder.string(), aside));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(run.string()));
  return aside;
}

}  // namespace

std::string StepFolderName(int64_t step) {
  return absl::StrFormat("%s%08d", kStepPrefix, step);
}

std::optional<int64_t> StepOf(const std::string& folder) {
  const std::string name = WithoutSlash(folder).filename().string();
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
    const std::optional<int64_t> step = StepOf(name);
    if (!step) continue;
    const fs::file_status status = fs::symlink_status(path, error);
    if (!fs::status_known(status)) {
      return StorageError(absl::StrCat(path, ": ", error.message()));
    }
    // A link may dangle, which the reader of the checkpoint reports.
    if (fs::is_directory(status) || fs::is_symlink(status)) {
      found.emplace_back(*step, path);
    }
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
    return !IsTraceOfStep(name, kDamagedPrefix);
  });
  return names;
}

absl::StatusOr<std::string> FindTraceOfCheckpoint(
    const std::string& run_folder) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(run_folder));
  for (const std::string& name : names) {
    if (name == kLatestName || IsTraceOfStep(name, kOldPrefix)) return name;
  }
  return std::string();
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
  return CheckpointError(
      absl::StrFormat("%s: no checkpoint: expected a %s or a step-* folder",
                      path, kManifestName));
}

absl::StatusOr<std::string> SetAsideDamaged(const std::string& step_folder,
                                            const std::string& reason) {
  LEXTRA_ASSIGN_OR_RETURN(std::string aside,
                          SetAside(step_folder, kDamagedPrefix));
  std::error_code ignored;
  // Nothing is written through a link: its target belongs to someone else.
  if (!fs::is_symlink(fs::symlink_status(aside, ignored))) {
    LEXTRA_RETURN_IF_ERROR(
        AtomicWrite(absl::StrCat(aside, "/", kReasonName), reason + "\n"));
  }
  return aside;
}

absl::StatusOr<std::string> SetAsideOld(const std::string& step_folder) {
  return SetAside(step_folder, kOldPrefix);
}

absl::StatusOr<std::string> SetAsideFailed(const std::string& step_folder,
                                           const std::string& reason) {
  const std::string run = RunFolderOf(WithoutSlash(step_folder)).string();
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListFolder(run));
  for (const std::string& name : names) {
    if (IsFailedSave(name)) {
      LEXTRA_RETURN_IF_ERROR(RemoveOwn(absl::StrCat(run, "/", name)));
    }
  }
  LEXTRA_ASSIGN_OR_RETURN(std::string aside,
                          SetAside(step_folder, kFailedPrefix));
  LEXTRA_RETURN_IF_ERROR(
      AtomicWrite(absl::StrCat(aside, "/", kReasonName), reason + "\n"));
  return aside;
}

absl::Status DeleteCheckpoint(const std::string& folder) {
  const fs::path step_folder = WithoutSlash(folder);
  const fs::path run = RunFolderOf(step_folder);
  std::error_code ignored;
  if (!fs::is_symlink(fs::symlink_status(step_folder, ignored))) {
    LEXTRA_ASSIGN_OR_RETURN(const std::string stranger,
                            FindStranger(step_folder.string()));
    if (!stranger.empty()) {
      return CheckpointError(absl::StrFormat(
          "%s: not deleted, because %s is not part of a checkpoint; move that "
          "elsewhere",
          folder, stranger));
    }
  }
  const std::string trash =
      (run / absl::StrCat(std::string(kTrashPrefix),
                          StepFolderName(StepOf(folder).value_or(0))))
          .string();
  LEXTRA_RETURN_IF_ERROR(RemoveOwn(trash));
  LEXTRA_RETURN_IF_ERROR(Rename(step_folder.string(), trash));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(run.string()));
  sys::KillPoint("trashed");
  return RemoveTree(trash);
}

absl::Status RemoveLeftovers(const std::string& run_folder) {
  absl::StatusOr<std::vector<std::string>> names = ListFolder(run_folder);
  if (!names.ok()) return StorageError(std::string(names.status().message()));
  for (const std::string& name : *names) {
    if (IsSaveFolder(name) || IsTrash(name)) {
      LEXTRA_RETURN_IF_ERROR(RemoveOwn((fs::path(run_folder) / name).string()));
    }
  }
  return RemoveTemporaries(run_folder, kReplacedFiles);
}

}  // namespace lextra
