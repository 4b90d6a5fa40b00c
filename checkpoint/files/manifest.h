// The table of contents of a step folder. Readers can trust a manifest that
// ReadManifest returns: it is what was saved (its digest matches), its boxes
// tile every tensor, header and boxes tile every file, and every file exists at
// full length.
#ifndef LEXTRA_CHECKPOINT_FILES_MANIFEST_H_
#define LEXTRA_CHECKPOINT_FILES_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/box.h"
#include "base/status.h"
#include "checkpoint/files/manifest.pb.h"

namespace lextra {

inline constexpr char kManifestName[] = "MANIFEST.json";
// Increment when the meaning of manifest.proto changes; keep a golden
// checkpoint of every version (tests/golden). 1: no checksums, no digest. 2:
// with them.
inline constexpr int kManifestVersion = 2;

// The bytes of a box that one checksum covers.
inline constexpr int64_t kBlockBytes = int64_t{1} << 20;

// JSON text of a manifest and back. The text's last field is "sha256", the
// digest of everything before it. DamagedError if the digest or the content is
// wrong; CheckpointError if a newer program is needed.
std::string ManifestText(const Manifest& manifest);
// The JSON object `json` with its digest as last field.
std::string WithDigest(const std::string& json);
absl::StatusOr<Manifest> ParseManifest(const std::string& text);

// The manifest of a step folder, checked by CheckManifest, and its files: plain
// base names, present as regular files, or links to such, of the size in the
// manifest. DamagedError names the folder, the file or tensor, found and
// expected; CheckpointError names a dangling link; StorageError if the device
// fails twice.
absl::StatusOr<Manifest> ReadManifest(const std::string& step_folder);

// Checks the manifest alone, without its files: a supported format version,
// known dtypes, boxes that tile their tensor and lie aligned within their file,
// a checksum for each of their blocks.
absl::Status CheckManifest(const Manifest& manifest);

// Writes a new MANIFEST.json into `folder` and makes its bytes durable.
absl::Status WriteManifest(const std::string& folder, const Manifest& manifest);

Box BoxOf(const StoredBox& stored);
std::vector<int64_t> ShapeOf(const TensorIndex& tensor);

// Whether boxes and headers have checksums: since version 2.
bool HasChecksums(const Manifest& manifest);
// The checksum of a box's block; 0 <= block < ceil(bytes / kBlockBytes).
uint32_t BlockCrc32c(const StoredBox& stored, int64_t block);
int64_t BytesOf(const Manifest& manifest);  // of all files

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_MANIFEST_H_
