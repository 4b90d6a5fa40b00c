#include "checkpoint/step_writer.h"

#include <ATen/core/Tensor.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/log.h"
#include "base/seeds.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tensor_file.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kTrashPrefix = ".trash-";

// 128 random bits.
std::string DrawSaveId() {
  std::random_device source;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppendFormat(&id, "%08x", source());
  return id;
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return StorageError(absl::StrFormat("can't rename %s to %s: %s", from, to,
                                      std::strerror(errno)));
}

absl::Status RemoveFolder(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) return absl::OkStatus();
  return StorageError(
      absl::StrFormat("can't remove %s: %s", path, error.message()));
}

// What saves and deletions that died have left in a run folder. Only one job
// writes to a run, so none of it is in use.
absl::Status RemoveLeftovers(const std::string& run_folder) {
  std::vector<std::string> leftovers;
  std::error_code error;
  fs::directory_iterator entries(run_folder, error);
  for (; !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.rfind(kTemporaryPrefix, 0) == 0 ||
        name.rfind(kTrashPrefix, 0) == 0) {
      leftovers.push_back(entries->path().string());
    }
  }
  if (error) {
    return StorageError(
        absl::StrFormat("can't list %s: %s", run_folder, error.message()));
  }
  for (const std::string& path : leftovers) {
    LEXTRA_RETURN_IF_ERROR(RemoveFolder(path));
  }
  return absl::OkStatus();
}

// Replicas take turns by name, so that all ranks share the writing.
bool IsWriter(const ShardedTensor& tensor) {
  return static_cast<int>(SeedFor(0, tensor.name) % tensor.num_replicas) ==
         tensor.replica;
}

// The boxes that this rank writes, by their names in the shard. Empty boxes
// need no bytes.
std::map<std::string, const ShardedTensor*> BoxesToWrite(
    const std::vector<ShardedTensor>& tensors) {
  std::map<std::string, const ShardedTensor*> boxes;
  for (const ShardedTensor& tensor : tensors) {
    TORCH_CHECK(tensor.tensor.sizes().vec() == tensor.box.shape, tensor.name,
                ": tensor of shape ", tensor.tensor.sizes(),
                " for a box of shape ", tensor.box.shape);
    if (!IsWriter(tensor) || tensor.box.num_elements() == 0) continue;
    const bool is_first =
        boxes.emplace(StoredName(tensor.name, tensor.box.offset), &tensor)
            .second;
    TORCH_CHECK(is_first, tensor.name, ": the same box is given twice");
  }
  return boxes;
}

TensorIndex IndexOf(const ShardedTensor& tensor) {
  TensorIndex index;
  index.set_name(tensor.name);
  index.set_dtype(DtypeName(tensor.tensor.scalar_type()));
  index.mutable_shape()->Assign(tensor.global_shape.begin(),
                                tensor.global_shape.end());
  return index;
}

StoredBox StoredBoxOf(const Box& box, int file, int64_t file_offset) {
  StoredBox stored;
  stored.mutable_offset()->Assign(box.offset.begin(), box.offset.end());
  stored.mutable_shape()->Assign(box.shape.begin(), box.shape.end());
  stored.set_file(file);
  stored.set_file_offset(file_offset);
  return stored;
}

std::string KindOf(const TensorIndex& index) {
  return KindText(index.dtype(), ShapeOf(index));
}

// All shards' files and boxes in one manifest, tensors by name.
absl::StatusOr<Manifest> Merge(const std::vector<Manifest>& shards) {
  Manifest merged;
  std::map<std::string, TensorIndex> tensors;
  for (const Manifest& shard : shards) {
    merged.mutable_files()->MergeFrom(shard.files());
    for (const TensorIndex& index : shard.tensors()) {
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

absl::Status DeleteCheckpoint(const std::string& run_folder,
                              const std::string& folder) {
  // Renamed first: a deletion that dies leaves no half checkpoint.
  const std::string trash =
      (fs::path(run_folder) /
       absl::StrCat(kTrashPrefix.data(), fs::path(folder).filename().string()))
          .string();
  LEXTRA_RETURN_IF_ERROR(Rename(folder, trash));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(run_folder));
  return RemoveFolder(trash);
}

absl::Status KeepNewest(const StepSave& save, int keep_last) {
  LEXTRA_ASSIGN_OR_RETURN(std::vector<std::string> folders,
                          ListCheckpoints(save.run_folder));
  // The one just written stays, even where the run was set back to a step
  // before others that are there.
  std::erase_if(folders, [&save](const std::string& folder) {
    return StepOf(folder) == save.step;
  });
  const int num_old = static_cast<int>(folders.size()) - (keep_last - 1);
  for (int i = 0; i < num_old; ++i) {
    LEXTRA_RETURN_IF_ERROR(DeleteCheckpoint(save.run_folder, folders[i]));
  }
  return absl::OkStatus();
}

}  // namespace

std::string StepSave::temporary_folder() const {
  return (fs::path(run_folder) /
          absl::StrFormat("%s%d-%s", kTemporaryPrefix, step, save_id))
      .string();
}

std::string StepSave::step_folder() const {
  return (fs::path(run_folder) / StepFolderName(step)).string();
}

absl::StatusOr<StepSave> BeginSave(const std::string& run_folder,
                                   int64_t step) {
  const StepSave save = {run_folder, step, DrawSaveId()};
  LEXTRA_RETURN_IF_ERROR(MakeFolders(run_folder));
  std::error_code error;
  if (fs::exists(fs::symlink_status(save.step_folder(), error))) {
    return CheckpointError(absl::StrCat(
        save.step_folder(), ": exists already; a checkpoint is not replaced"));
  }
  LEXTRA_RETURN_IF_ERROR(RemoveLeftovers(run_folder));
  LEXTRA_RETURN_IF_ERROR(MakeFolders(save.temporary_folder()));
  return save;
}

absl::StatusOr<Manifest> WriteShard(const StepSave& save, int rank,
                                    int num_ranks,
                                    const std::vector<ShardedTensor>& tensors) {
  const std::string file_name =
      absl::StrFormat("shard-%05d-of-%05d.safetensors", rank, num_ranks);
  const std::string path =
      (fs::path(save.temporary_folder()) / file_name).string();
  const auto boxes = BoxesToWrite(tensors);
  NamedTensors bytes;
  for (const auto& [name, box] : boxes) bytes[name] = box->tensor;
  LEXTRA_ASSIGN_OR_RETURN(
      const WrittenFile written,
      WriteNewTensorFile(path, {{"format", "pt"}, {"save_id", save.save_id}},
                         bytes));

  std::map<std::string, TensorIndex> indexes;
  for (const ShardedTensor& tensor : tensors) {
    indexes.emplace(tensor.name, IndexOf(tensor));
  }
  Manifest shard;
  ShardFile* file = shard.add_files();
  file->set_name(file_name);
  file->set_bytes(written.num_bytes);
  for (const TensorEntry& entry : written.tensors) {
    const ShardedTensor& box = *boxes.at(entry.name);
    *indexes.at(box.name).add_boxes() =
        StoredBoxOf(box.box, rank, entry.file_offset);
  }
  for (auto& [name, index] : indexes) *shard.add_tensors() = std::move(index);
  return shard;
}

absl::Status CommitSave(const StepSave& save, const TrainingState& state,
                        const std::vector<Manifest>& shards) {
  LEXTRA_ASSIGN_OR_RETURN(Manifest manifest, Merge(shards));
  manifest.set_format_version(kManifestVersion);
  manifest.set_save_id(save.save_id);
  *manifest.mutable_state() = state;
  // What could not be loaded is not saved: a box that no rank wrote, say.
  LEXTRA_RETURN_IF_ERROR(CheckManifest(manifest));
  const std::string temporary = save.temporary_folder();
  LEXTRA_RETURN_IF_ERROR(WriteManifest(temporary, manifest));
  LEXTRA_RETURN_IF_ERROR(SyncFolder(temporary));
  LEXTRA_RETURN_IF_ERROR(Rename(temporary, save.step_folder()));
  absl::Status status = SyncFolder(save.run_folder);
  // Not durable is not saved, so the name goes too.
  if (!status.ok()) Rename(save.step_folder(), temporary).IgnoreError();
  return status;
}

void NameLatest(const StepSave& save) {
  const absl::Status status =
      AtomicWrite((fs::path(save.run_folder) / "latest").string(),
                  absl::StrFormat("%d\n", save.step));
  if (!status.ok()) LogWarning("after a save: %s", status.message());
}

void DeleteOldCheckpoints(const StepSave& save, int keep_last) {
  const absl::Status status = KeepNewest(save, keep_last);
  if (!status.ok()) LogWarning("after a save: %s", status.message());
}

void AbandonSave(const StepSave& save) {
  const absl::Status status = RemoveFolder(save.temporary_folder());
  if (!status.ok()) LogWarning("after a failed save: %s", status.message());
}

}  // namespace lextra
