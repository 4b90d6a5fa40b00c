#include "launch/arguments/output_paths.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/step_folders.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

bool IsCheckpoint(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kManifestName, error)) return false;
  // Other programs may use this file name, too.
  return StepOf(folder.string()) || ReadManifest(folder.string()).ok();
}

}  // namespace

std::string AbsolutePath(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  fs::path from_root = fs::absolute(path, error);
  if (error) return path;
  fs::path tidy;
  for (const fs::path& part : from_root) {
    if (!part.empty() && part != ".") tidy /= part;
  }
  return tidy.string();
}

std::string RunFolderOfCheckpoint(const std::string& step_folder) {
  fs::path folder = AbsolutePath(step_folder);
  if (!StepOf(folder.string())) {
    std::error_code error;
    const fs::path followed = fs::canonical(folder, error);
    if (!error) folder = followed;
  }
  return folder.parent_path().string();
}

absl::Status CheckOutsideCheckpoints(const std::string& flag,
                                     const std::string& path) {
  std::error_code error;
  fs::path folder = fs::weakly_canonical(AbsolutePath(path), error);
  if (error) folder = AbsolutePath(path);
  for (; folder.has_relative_path(); folder = folder.parent_path()) {
    if (!IsCheckpoint(folder)) continue;
    return UsageError(absl::StrCat(
        flag, "=", path, ": inside the checkpoint ", folder.string(),
        ", which may only hold what was saved; choose a path outside"));
  }
  return absl::OkStatus();
}

absl::Status CheckCanBeWritten(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return StorageError(
        absl::StrCat(path,
                     ": exists and is not a regular file; choose another "
                     "path"));
  }
  const std::string probe = TemporaryName(path);
  absl::StatusOr<FileWriter> writer = FileWriter::Create(probe);
  if (!writer.ok()) return writer.status();
  absl::Status written = writer->Write("?");
  if (written.ok()) written = writer->Close();
  const absl::Status removed = RemoveTree(probe);
  return written.ok() ? removed : written;
}

}  // namespace lextra
