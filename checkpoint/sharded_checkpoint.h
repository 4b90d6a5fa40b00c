// Checkpoints of a run: one safetensors file per rank and a manifest that names
// every tensor's boxes. Written to a temporary folder, synced, renamed: a
// killed save never looks like a checkpoint. Loads at any layout by
// intersecting boxes, reading only what this rank needs.
//
//   RUN/step-00000100/MANIFEST.json            what is where (manifest.proto)
//   RUN/step-00000100/shard-00000-of-00004.safetensors
//   RUN/.tmp-100-<save id>/                    a save in progress or abandoned
//   RUN/.trash-step-00000050/                  being deleted
//   RUN/latest                                 a hint for people, never trusted
//
// What a dead save or deletion left behind goes at the run's next save.
// Knows named ShardedTensors, never the model.
#ifndef LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_
#define LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/manifest.h"
#include "checkpoint/tensor_file.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"

namespace lextra {

// Writes RUN/step-N for state.step(). Collective over `world`; each rank passes
// the boxes it holds, and of the replicas of a box one writes it. Replaces
// nothing: an existing step-N is an error. Then deletes all but the newest
// `keep_last` checkpoints. The status is the same on all ranks; after an error
// the run folder holds what it held before.
absl::Status SaveCheckpoint(Communicator& world, const std::string& run_folder,
                            const TrainingState& state,
                            const std::vector<ShardedTensor>& tensors,
                            int keep_last);

// The same for whole tensors held by one process, without ranks; deletes
// nothing.
absl::Status SaveWholeTensors(const std::string& run_folder,
                              const TrainingState& state,
                              const NamedTensors& tensors);

// Fills tensors (by name; the box each rank wants) from `step_folder`. A tensor
// that is missing, or whose dtype or global shape differs, is an error that
// names both sides. Not collective; callers agree on the status. `bytes_read`
// receives what was taken from the shards: headers and elements.
absl::Status LoadTensors(const std::string& step_folder,
                         const Manifest& manifest,
                         const std::vector<ShardedTensor>& tensors,
                         int64_t* bytes_read = nullptr);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_
