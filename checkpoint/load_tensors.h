// Tensors into and out of the checkpoints of a run: one safetensors file per
// rank and a manifest that names every tensor's boxes (step_folders.h describes
// the folders, step_save.h how a save becomes a checkpoint). Loads at any
// layout by intersecting boxes, reading only what this rank needs. Saving by
// all ranks is in checkpoint_saver.h. Knows named ShardedTensors, never the
// model.
#ifndef LEXTRA_CHECKPOINT_LOAD_TENSORS_H_
#define LEXTRA_CHECKPOINT_LOAD_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/step_save.h"
#include "checkpoint/tensor_file.h"
#include "parallel/parameter.h"

namespace lextra {

// Writes RUN/step-N for state.step() from whole tensors held by one process,
// without ranks; deletes nothing. StorageError, or CheckpointError if the step
// exists.
absl::Status SaveWholeTensors(const std::string& run_folder,
                              const SaveOrigin& origin,
                              const TrainingState& state,
                              const NamedTensors& tensors);

// Fills tensors (by name; the box each rank wants) from `step_folder`. A tensor
// that is missing, or whose dtype or global shape differs, is a CheckpointError
// that names both sides; corrupt bytes are a DamagedError, and none of them
// reaches a tensor. Not collective; callers agree on the status. `bytes_read`
// receives the bytes read from the shards.
absl::Status LoadTensors(const std::string& step_folder,
                         const Manifest& manifest,
                         const std::vector<ShardedTensor>& tensors,
                         int64_t* bytes_read = nullptr);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_LOAD_TENSORS_H_
