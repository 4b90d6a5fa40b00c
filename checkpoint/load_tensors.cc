#include "checkpoint/load_tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <span>

#include "base/log.h"
#include "checkpoint/files/shard_file.h"
#include "checkpoint/files/shard_reader.h"
#include "checkpoint/snapshot.h"

namespace lextra {
namespace {

absl::Status LoadTensor(const ShardedTensor& wanted, ShardReader* reader) {
  LEXTRA_ASSIGN_OR_RETURN(
      const TensorIndex* stored,
      reader->Find(wanted.name, DtypeName(wanted.tensor.scalar_type()),
                   wanted.global_shape));
  TORCH_CHECK(Contains(Box::Whole(wanted.global_shape), wanted.box),
              wanted.name, ": the requested box exceeds the tensor");
  if (wanted.box.num_elements() == 0) return absl::OkStatus();
  const bool is_plain = wanted.tensor.is_cpu() && wanted.tensor.is_contiguous();
  const at::Tensor bytes =
      is_plain ? wanted.tensor
               : at::empty(wanted.box.shape, wanted.tensor.scalar_type());
  LEXTRA_RETURN_IF_ERROR(reader->Read(
      *stored, wanted.box,
      std::span(static_cast<std::byte*>(bytes.data_ptr()), bytes.nbytes())));
  if (!is_plain) wanted.tensor.copy_(bytes);
  return absl::OkStatus();
}

}  // namespace

absl::Status SaveWholeTensors(const std::string& run_folder,
                              const SaveOrigin& origin,
                              const TrainingState& state,
                              const NamedTensors& tensors) {
  std::vector<ShardedTensor> whole;
  for (const auto& [name, tensor] : tensors) {
    whole.push_back({.name = name,
                     .global_shape = tensor.sizes().vec(),
                     .box = Box::Whole(tensor.sizes().vec()),
                     .tensor = tensor});
  }
  ShardImage image(TensorsToStore(whole, /*max_tensor=*/1));
  FillImage(whole, &image);
  LEXTRA_ASSIGN_OR_RETURN(const StepSave save,
                          BeginSave(run_folder, state.step(),
                                    static_cast<int64_t>(image.data().size())));
  const absl::StatusOr<Manifest> shard =
      WriteShard(save.temporary_folder(), save.save_id, 0, 1, image);
  absl::Status status = shard.status();
  if (status.ok()) status = CommitSave(save, origin, state, {*shard});
  if (status.ok()) {
    NameLatest(save);
  } else if (const absl::Status left = AbandonSave(save); !left.ok()) {
    LogWarning("failed to clean up after a failed save: %s", left.message());
  }
  return status;
}

absl::Status LoadTensors(const std::string& step_folder,
                         const Manifest& manifest,
                         const std::vector<ShardedTensor>& tensors,
                         int64_t* bytes_read) {
  // Destinations may be leaves that require gradients.
  const at::NoGradGuard no_grad;
  ShardReader reader(step_folder, manifest);
  for (const ShardedTensor& tensor : tensors) {
    LEXTRA_RETURN_IF_ERROR(LoadTensor(tensor, &reader));
  }
  if (bytes_read != nullptr) *bytes_read = reader.bytes_read();
  return absl::OkStatus();
}

}  // namespace lextra
