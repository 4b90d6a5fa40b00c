// Reads boxes of tensors from the shards of one checkpoint. Reads only the
// blocks that contain wanted elements, and returns no byte of a block whose
// checksum is wrong. Without LibTorch.
#ifndef LEXTRA_CHECKPOINT_FILES_SHARD_READER_H_
#define LEXTRA_CHECKPOINT_FILES_SHARD_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/box.h"
#include "base/io/open_files.h"
#include "base/status.h"
#include "checkpoint/files/manifest.h"

namespace lextra {

class ShardReader {
 public:
  // Both outlive this. `manifest` is ReadManifest's of `step_folder`.
  ShardReader(const std::string& step_folder, const Manifest& manifest);

  // The tensor of this name, dtype and shape. CheckpointError, with both sides,
  // if there is none.
  absl::StatusOr<const TensorIndex*> Find(
      const std::string& name, const std::string& dtype,
      const std::vector<int64_t>& shape) const;

  // Fills `bytes` with the elements of `wanted` (C order), a box within the
  // tensor. DamagedError names file, tensor and byte; StorageError if the
  // device fails twice.
  absl::Status Read(const TensorIndex& tensor, const Box& wanted,
                    std::span<std::byte> bytes);

  // Read from the shards so far: headers and blocks.
  int64_t bytes_read() const { return bytes_read_; }

 private:
  absl::StatusOr<const InputFile*> Open(int file);
  // The block's bytes, checked; valid until the next call.
  absl::StatusOr<std::span<const std::byte>> ReadBlock(
      const TensorIndex& tensor, const StoredBox& stored, int64_t box_bytes,
      int64_t block);
  // Fills the part of `bytes`, the box `wanted`, that is in `stored`.
  absl::Status ReadCommon(const TensorIndex& tensor, const StoredBox& stored,
                          const Box& wanted, std::span<std::byte> bytes);

  const std::string& step_folder_;
  const Manifest& manifest_;
  std::map<std::string, const TensorIndex*> tensors_;
  std::map<int, InputFile> files_;
  std::vector<std::byte> block_;
  int64_t bytes_read_ = 0;
};

// Fills `bytes` from an offset of a shard; retries once if the device fails.
// DamagedError if the file is too short.
absl::Status ReadShardBytes(const InputFile& file, int64_t offset,
                            std::span<std::byte> bytes);

// Opens a shard and checks its header against the manifest. `header_bytes`
// receives what was read.
absl::StatusOr<InputFile> OpenShard(const std::string& step_folder,
                                    const Manifest& manifest, int file,
                                    int64_t* header_bytes);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_SHARD_READER_H_
