// Checkpoints of a run: one safetensors file per rank and a manifest that names
// every tensor's boxes. Written to a temporary folder, synced, renamed: a
// killed save never looks like a checkpoint. Loads at any layout by
// intersecting boxes, reading only what this rank needs.
//
//   RUN/step-00000100/MANIFEST.json            what is where (manifest.proto)
//   RUN/step-00000100/shard-00000-of-00004.safetensors
//   RUN/.tmp-100-<save id>/                    a save in progress or abandoned
//   RUN/latest                                 a hint for people, never trusted
//
// Knows named ShardedTensors, never the model.
#ifndef LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_
#define LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/manifest.pb.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"

namespace lextra {

// What a checkpoint holds beside tensors; `Manifest.state` (manifest.proto):
// step, tokens seen, seeds, effective configuration as text, tokenizer.

// Writes RUN/step-N for state.step(). Collective over `world`; each rank passes
// the boxes it holds, and of the replicas of a box one writes it. Replaces
// nothing: an existing step-N is an error. Then deletes all but the newest
// `keep_last` checkpoints. The status is the same on all ranks.
absl::Status SaveCheckpoint(Communicator& world, const std::string& run_folder,
                            const TrainingState& state,
                            const std::vector<ShardedTensor>& tensors,
                            int keep_last);

// The folder of the newest step in a run folder, or `path` itself if it holds a
// MANIFEST.json. CheckpointError where there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

// Step folders of a run, oldest first (empty if none; InputError if no folder).
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder);

// The manifest of a step folder, checked: digest of its own format, basenames,
// boxes inside shapes, every tensor covered, shard files present with the size
// that the manifest states.
absl::StatusOr<Manifest> ReadManifest(const std::string& step_folder);

// Fills tensors (by name; the box each rank wants) from `step_folder`. A tensor
// that is missing, or whose dtype or global shape differs, is an error that
// names both sides. Not collective; callers agree on the status.
absl::Status LoadTensors(const std::string& step_folder,
                         const Manifest& manifest,
                         const std::vector<ShardedTensor>& tensors);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_SHARDED_CHECKPOINT_H_
