#include "checkpoint/sharded_checkpoint.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/step_writer.h"
#include "parallel/agreement.h"

namespace lextra {
namespace {

// The save id that rank 0 drew, once its temporary folder stands.
absl::StatusOr<StepSave> BeginTogether(Communicator& world,
                                       const std::string& run_folder,
                                       int64_t step) {
  LEXTRA_ASSIGN_OR_RETURN(
      std::string save_id,
      LoadOnRankZero(world, [&]() -> absl::StatusOr<std::string> {
        LEXTRA_ASSIGN_OR_RETURN(StepSave save, BeginSave(run_folder, step));
        return save.save_id;
      }));
  return StepSave{run_folder, step, std::move(save_id)};
}

std::vector<Manifest> GatherManifests(Communicator& world,
                                      const Manifest& mine) {
  std::vector<Manifest> all;
  for (const std::string& text : GatherTexts(world, mine.SerializeAsString())) {
    TORCH_CHECK(all.emplace_back().ParseFromString(text));
  }
  return all;
}

// On one rank: leaves the run folder in order, whatever the outcome.
void Conclude(const StepSave& save, const absl::Status& committed,
              int keep_last) {
  if (!committed.ok()) return AbandonSave(save);
  NameLatest(save);
  DeleteOldCheckpoints(save, keep_last);
}

// The part of `tensor`, which holds `box`, where `common` lies.
at::Tensor PartOf(at::Tensor tensor, const Box& box, const Box& common) {
  for (size_t dim = 0; dim < common.shape.size(); ++dim) {
    tensor =
        tensor.narrow(static_cast<int64_t>(dim),
                      common.offset[dim] - box.offset[dim], common.shape[dim]);
  }
  return tensor;
}

// Reads boxes from the shards of one step folder. A shard is opened when a box
// of it is wanted for the first time.
class ShardReader {
 public:
  ShardReader(const std::string& step_folder, const Manifest& manifest)
      : step_folder_(step_folder), manifest_(manifest) {
    for (const TensorIndex& index : manifest.tensors()) {
      indexes_[index.name()] = &index;
    }
  }

  absl::Status Fill(const ShardedTensor& wanted) {
    LEXTRA_ASSIGN_OR_RETURN(const TensorIndex* index, IndexFor(wanted));
    if (wanted.box.num_elements() == 0) return absl::OkStatus();
    int64_t num_filled = 0;
    for (const StoredBox& stored : index->boxes()) {
      const Box box = BoxOf(stored);
      const std::optional<Box> common = Intersect(box, wanted.box);
      if (!common) continue;
      LEXTRA_ASSIGN_OR_RETURN(const at::Tensor source, BytesOf(*index, stored));
      const at::Tensor part = PartOf(source, box, *common);
      PartOf(wanted.tensor, wanted.box, *common).copy_(part);
      bytes_read_ += static_cast<int64_t>(part.nbytes());
      num_filled += part.numel();
    }
    TORCH_CHECK(num_filled == wanted.box.num_elements(), wanted.name,
                ": the wanted box reaches beyond the tensor");
    return absl::OkStatus();
  }

  int64_t bytes_read() const { return bytes_read_; }

 private:
  absl::StatusOr<const TensorIndex*> IndexFor(
      const ShardedTensor& wanted) const {
    const auto place = indexes_.find(wanted.name);
    const std::string kind =
        KindText(DtypeName(wanted.tensor.scalar_type()), wanted.global_shape);
    if (place == indexes_.end()) {
      return CheckpointError(
          absl::StrFormat("%s: has no tensor '%s' (wanted: %s) among its %d",
                          step_folder_, wanted.name, kind, indexes_.size()));
    }
    const std::string stored =
        KindText(place->second->dtype(), ShapeOf(*place->second));
    if (stored != kind) {
      return CheckpointError(
          absl::StrFormat("%s: tensor '%s' is %s, but %s is wanted",
                          step_folder_, wanted.name, stored, kind));
    }
    return place->second;
  }

  // The box's bytes in its mapped shard, as a tensor.
  absl::StatusOr<at::Tensor> BytesOf(const TensorIndex& index,
                                     const StoredBox& stored) {
    LEXTRA_ASSIGN_OR_RETURN(const SafetensorsFile* file, Open(stored.file()));
    const Box box = BoxOf(stored);
    const std::string name = StoredName(index.name(), box.offset);
    const TensorEntry* entry = file->Find(name);
    if (entry == nullptr || entry->dtype != index.dtype() ||
        entry->shape != box.shape ||
        entry->file_offset != stored.file_offset()) {
      return CheckpointError(absl::StrFormat(
          "%s: the manifest states %s '%s' at byte %d, but the file has %s",
          file->path(), KindText(index.dtype(), box.shape), name,
          stored.file_offset(),
          entry == nullptr ? "no such tensor"
                           : absl::StrCat(KindText(entry->dtype, entry->shape),
                                          " at byte ", entry->file_offset)));
    }
    // Read only: copy_ is all that happens to it.
    std::byte* bytes = const_cast<std::byte*>(file->Bytes(*entry).data());
    return at::from_blob(bytes, box.shape, *DtypeNamed(index.dtype()));
  }

  absl::StatusOr<const SafetensorsFile*> Open(int file) {
    const auto place = files_.find(file);
    if (place != files_.end()) return &place->second;
    const std::string path =
        (std::filesystem::path(step_folder_) / manifest_.files(file).name())
            .string();
    absl::StatusOr<SafetensorsFile> opened = SafetensorsFile::Open(path);
    if (!opened.ok()) {
      return CheckpointError(absl::StrCat(opened.status().message()));
    }
    const auto save_id = opened->metadata().find("save_id");
    if (save_id == opened->metadata().end() ||
        save_id->second != manifest_.save_id()) {
      return CheckpointError(absl::StrFormat(
          "%s: belongs to save '%s', but the manifest to '%s'", path,
          save_id == opened->metadata().end() ? "" : save_id->second,
          manifest_.save_id()));
    }
    bytes_read_ += opened->header_bytes();
    return &files_.emplace(file, *std::move(opened)).first->second;
  }

  const std::string step_folder_;
  const Manifest& manifest_;
  std::map<std::string, const TensorIndex*> indexes_;
  std::map<int, SafetensorsFile> files_;
  int64_t bytes_read_ = 0;
};

}  // namespace

absl::Status SaveCheckpoint(Communicator& world, const std::string& run_folder,
                            const TrainingState& state,
                            const std::vector<ShardedTensor>& tensors,
                            int keep_last) {
  TORCH_CHECK(keep_last >= 1, "keep_last is ", keep_last, ", at least 1 is");
  LEXTRA_ASSIGN_OR_RETURN(const StepSave save,
                          BeginTogether(world, run_folder, state.step()));
  const absl::StatusOr<Manifest> mine =
      WriteShard(save, world.rank(), world.size(), tensors);
  const absl::Status written = AgreeOnStatus(world, mine.status());
  absl::Status committed = written;
  if (written.ok()) {
    const std::vector<Manifest> shards = GatherManifests(world, *mine);
    if (world.rank() == 0) committed = CommitSave(save, state, shards);
  }
  if (world.rank() == 0) Conclude(save, committed, keep_last);
  // Also where the ranks know already: all leave when the folder is in order.
  const absl::Status agreed = AgreeOnStatus(world, committed);
  return written.ok() ? agreed : written;
}

absl::Status SaveWholeTensors(const std::string& run_folder,
                              const TrainingState& state,
                              const NamedTensors& tensors) {
  std::vector<ShardedTensor> whole;
  for (const auto& [name, tensor] : tensors) {
    whole.push_back({.name = name,
                     .global_shape = tensor.sizes().vec(),
                     .box = Box::Whole(tensor.sizes().vec()),
                     .tensor = tensor});
  }
  LEXTRA_ASSIGN_OR_RETURN(const StepSave save,
                          BeginSave(run_folder, state.step()));
  const absl::StatusOr<Manifest> shard = WriteShard(save, 0, 1, whole);
  absl::Status status = shard.status();
  if (status.ok()) status = CommitSave(save, state, {*shard});
  status.ok() ? NameLatest(save) : AbandonSave(save);
  return status;
}

absl::Status LoadTensors(const std::string& step_folder,
                         const Manifest& manifest,
                         const std::vector<ShardedTensor>& tensors,
                         int64_t* bytes_read) {
  // Destinations may be leaves that train.
  const at::NoGradGuard no_grad;
  ShardReader reader(step_folder, manifest);
  for (const ShardedTensor& tensor : tensors) {
    LEXTRA_RETURN_IF_ERROR(reader.Fill(tensor));
  }
  if (bytes_read != nullptr) *bytes_read = reader.bytes_read();
  return absl::OkStatus();
}

}  // namespace lextra
