// The step folders of a run and what each says about itself. A manifest that
// ReadManifest returns can be trusted by its readers: every tensor is tiled by
// its boxes, and every box lies within a file that is there.
#ifndef LEXTRA_CHECKPOINT_MANIFEST_H_
#define LEXTRA_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/box.h"
#include "base/status.h"
#include "checkpoint/manifest.pb.h"

namespace lextra {

inline constexpr char kManifestName[] = "MANIFEST.json";
// Raise it when the meaning of manifest.proto changes.
inline constexpr int kManifestVersion = 1;

std::string StepFolderName(int64_t step);  // step-00000100
// The step of a path whose last part is a step folder's name.
std::optional<int64_t> StepOf(const std::string& folder);

// The folder of the newest step in a run folder, or `path` itself if it holds a
// MANIFEST.json. CheckpointError where there is none.
absl::StatusOr<std::string> FindCheckpoint(const std::string& path);

// Step folders of a run, oldest first (empty if none; InputError if no folder).
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const std::string& run_folder);

// The manifest of a step folder, checked by CheckManifest, and its files: plain
// base names, present as regular files of the size that the manifest states.
// CheckpointError names the folder, the file or tensor, found and expected.
absl::StatusOr<Manifest> ReadManifest(const std::string& step_folder);

// What must hold whatever lies beside the manifest: our format version, known
// dtypes, boxes that tile their tensor and lie aligned within their file.
absl::Status CheckManifest(const Manifest& manifest);

// Writes a new MANIFEST.json into `folder` and makes its bytes durable.
absl::Status WriteManifest(const std::string& folder, const Manifest& manifest);

Box BoxOf(const StoredBox& stored);
std::vector<int64_t> ShapeOf(const TensorIndex& tensor);

// The name of a box in its shard: the tensor's for the box at its origin (so
// the one shard of one rank reads as plain weights), else with the offset:
// "layers.0.ffn.fc1.weight[64,0]".
std::string StoredName(const std::string& tensor,
                       const std::vector<int64_t>& offset);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_MANIFEST_H_
