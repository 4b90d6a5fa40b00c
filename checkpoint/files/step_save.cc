#include "checkpoint/files/step_save.h"

#include <filesystem>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/files.h"
#include "base/io/open_files.h"
#include "base/io/random_id.h"
#include "base/io/system_calls.h"
#include "base/log.h"
#include "checkpoint/files/safetensors.h"
#include "checkpoint/files/step_folders.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

absl::Status CheckSpace(const std::string& run_folder, int64_t num_bytes) {
  LEXTRA_ASSIGN_OR_RETURN(const int64_t free, FreeBytes(run_folder));
  const int64_t wanted = num_bytes + num_bytes / 5;
  if (free >= wanted) return absl::OkStatus();
  return StorageError(absl::StrFormat(
      "%s: %d bytes free, but a checkpoint needs %d (1.2 x its size); free "
      "some space, or lower checkpoint.keep_last",
      run_folder, free, wanted));
}

std::string KindOf(const TensorIndex& index) {
  return KindText(index.dtype(), ShapeOf(index));
}

// All shards' files and boxes in one manifest, tensors by name.
absl::StatusOr<Manifest> Merge(const std::vector<Manifest>& shards) {
  Manifest merged;
  std::map<std::string, TensorIndex> tensors;
  for (const Manifest& shard : shards) {
    const int file = merged.files_size();
    merged.mutable_files()->MergeFrom(shard.files());
    for (TensorIndex index : shard.tensors()) {
      for (StoredBox& box : *index.mutable_boxes()) box.set_file(file);
      const auto [place, is_new] = tensors.emplace(index.name(), index);
      if (is_new) continue;
      if (KindOf(place->second) != KindOf(index)) {
        return CheckpointError(absl::StrFormat(
            "tensor '%s' is %s on one rank and %s on another", index.name(),
            KindOf(place->second), KindOf(index)));
      }
      place->second.mutable_boxes()->MergeFrom(index.boxes());
    }
  }
  for (auto& [name, index] : tensors) {
    *merged.add_tensors() = std::move(index);
  }
  return merged;
}

bool IsLink(const std::string& path) {
  std::error_code ignored;
  return fs::is_symlink(fs::symlink_status(path, ignored));
}

// Whether a step exists, possibly behind a link, and was read back.
bool IsVerified(const std::string& step_folder,
                const std::set<int64_t>& verified) {
  std::error_code ignored;
  return fs::is_directory(step_folder, ignored) &&
         (verified.contains(StepOf(step_folder).value()) ||
          fs::exists(fs::path(step_folder) / kVerifiedName, ignored));
}

// The rename that commits. Without renameat2 the result is the same: only one
// job writes here, and rename never replaces a folder that is not empty.
absl::Status RenameToCommit(const StepSave& save) {
  const absl::Status status =
      RenameNoReplace(save.temporary_folder(), save.step_folder());
  if (!absl::IsUnimplemented(status)) return status;
  return Rename(save.temporary_folder(), save.step_folder());
}

// The newest step up to `last_step` of `verified` (newest first), or else of
// `folders` (oldest first); -1 if there is none.
int64_t NewestUpTo(int64_t last_step, const std::vector<int64_t>& verified,
                   const std::vector<std::string>& folders) {
  for (const int64_t step : verified) {
    if (step <= last_step) return step;
  }
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    const int64_t step = StepOf(*folder).value();
    if (step <= last_step) return step;
  }
  return -1;
}

}  // namespace

std::string StepSave::temporary_folder() const {
  return SaveFolder(run_folder, step, save_id);
}

std::string StepSave::step_folder() const {
  return (fs::path(run_folder) / StepFolderName(step)).string();
}

absl::StatusOr<StepSave> BeginSave(const std::string& run_folder, int64_t step,
                                   int64_t num_bytes) {
  const StepSave save = {run_folder, step, DrawId(4)};
  LEXTRA_RETURN_IF_ERROR(MakeFolders(run_folder));
  std::error_code error;
  if (fs::exists(fs::symlink_status(save.step_folder(), error))) {
    return CheckpointError(
        absl::StrCat(save.step_folder(),
                     ": already exists; a checkpoint is never overwritten"));
  }
  LEXTRA_RETURN_IF_ERROR(CheckSpace(run_folder, num_bytes));
  LEXTRA_RETURN_IF_ERROR(MakeNewFolder(save.temporary_folder()));
  sys::KillPoint("save_begun");
  return save;
}

absl::Status CommitSave(const StepSave& save, const SaveOrigin& origin,
                        const TrainingState& state,
                        const std::vector<Manifest>& shards) {
  LEXTRA_ASSIGN_OR_RETURN(Manifest manifest, Merge(shards));
  manifest.set_format_version(kManifestVersion);
  manifest.set_min_reader_version(kManifestVersion);
  manifest.set_save_id(save.save_id);
  manifest.set_run_id(origin.run_id);
  manifest.set_program(origin.program);
  *manifest.mutable_state() = state;
  // Refuses to save what could not be loaded, such as a box that no rank wrote.
  LEXTRA_RETURN_IF_ERROR(CheckManifest(manifest));
  LEXTRA_RETURN_IF_ERROR(WriteManifest(save.temporary_folder(), manifest));
  sys::KillPoint("manifest_durable");
  return CommitFolder(save);
}

absl::Status CommitFolder(const StepSave& save) {
  const std::string temporary = save.temporary_folder();
  LEXTRA_RETURN_IF_ERROR(SyncFolder(temporary));
  sys::KillPoint("folder_durable");
  LEXTRA_RETURN_IF_ERROR(RenameToCommit(save));
  sys::KillPoint("renamed");
  const absl::Status status = SyncFolder(save.run_folder);
  if (!status.ok()) {
    // Not durable means not saved, so the name is removed.
    Rename(save.step_folder(), temporary).IgnoreError();
    return status;
  }
  sys::KillPoint("committed");
  return absl::OkStatus();
}

void NameLatest(const StepSave& save) {
  const absl::Status status =
      AtomicWrite((fs::path(save.run_folder) / kLatestName).string(),
                  absl::StrFormat("%d\n", save.step));
  if (!status.ok()) LogWarning("after a save: %s", status.message());
  sys::KillPoint("named_latest");
}

void MarkVerified(const std::string& step_folder) {
  const std::string path = absl::StrCat(step_folder, "/", kVerifiedName);
  std::error_code ignored;
  if (IsLink(step_folder) || !fs::is_directory(step_folder, ignored) ||
      fs::exists(path, ignored)) {
    return;
  }
  const absl::Status status = [&]() -> absl::Status {
    LEXTRA_ASSIGN_OR_RETURN(FileWriter mark, FileWriter::Create(path));
    LEXTRA_RETURN_IF_ERROR(mark.Close());
    return SyncFolder(step_folder);
  }();
  if (!status.ok()) LogWarning("after a save: %s", status.message());
  sys::KillPoint("marked");
}

absl::Status AbandonSave(const StepSave& save) {
  return RemoveTree(save.temporary_folder());
}

absl::Status DeleteOldCheckpoints(const std::string& run_folder,
                                  const Retention& retention,
                                  const std::set<int64_t>& verified) {
  LEXTRA_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                          ListCheckpoints(run_folder));
  std::vector<int64_t> kept;  // existing ones, newest first
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    const int64_t step = StepOf(*folder).value();
    if (IsVerified(*folder, verified)) kept.push_back(step);
  }
  if (std::ssize(kept) < retention.keep_last) return absl::OkStatus();
  const int64_t oldest_kept = kept[retention.keep_last - 1];
  const int64_t last_good = NewestUpTo(retention.last_good_step, kept, folders);
  absl::Status status;
  for (const std::string& folder : folders) {
    const int64_t step = StepOf(folder).value();
    const bool stays =
        retention.keep_every > 0 && step % retention.keep_every == 0;
    if (stays || step >= oldest_kept || step == last_good || IsLink(folder)) {
      continue;
    }
    // A failed deletion does not stop the others.
    status.Update(DeleteCheckpoint(folder));
  }
  sys::KillPoint("pruned");
  return status;
}

}  // namespace lextra
