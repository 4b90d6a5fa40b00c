// Whole checkpoints: verified to the last byte, and copied. Without ranks and
// without LibTorch.
#ifndef LEXTRA_CHECKPOINT_FILES_CHECKPOINT_COPY_H_
#define LEXTRA_CHECKPOINT_FILES_CHECKPOINT_COPY_H_

#include <string>

#include "base/status.h"
#include "checkpoint/files/manifest.h"

namespace lextra {

// Reads every byte of a step folder and compares every checksum. DamagedError
// names file, tensor and byte.
absl::StatusOr<Manifest> VerifyCheckpoint(const std::string& step_folder);

// Copies a step folder, byte for byte, into the run folder `to` (created if
// missing, locked meanwhile), reads the copy back and commits it. Returns its
// path.
absl::StatusOr<std::string> CopyCheckpoint(const std::string& step_folder,
                                           const std::string& to);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_CHECKPOINT_COPY_H_
