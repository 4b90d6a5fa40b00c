// One rank's shard of a checkpoint, as bytes: a safetensors file of the boxes
// that the rank stores, with a checksum for every byte. Without LibTorch.
#ifndef LEXTRA_CHECKPOINT_FILES_SHARD_FILE_H_
#define LEXTRA_CHECKPOINT_FILES_SHARD_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/box.h"
#include "base/status.h"
#include "checkpoint/files/manifest.h"
#include "checkpoint/files/safetensors.h"

namespace lextra {

// A tensor and the boxes of it that one rank stores (none if another rank
// does). Boxes are not empty and don't overlap.
struct TensorToStore {
  std::string name;
  std::string dtype;
  std::vector<int64_t> global_shape;
  std::vector<Box> boxes;
};

// The name of a box in its shard: the tensor's for the box at its origin (so
// tensors that no layout cuts look like plain weights), else with the offset:
// "layers.0.ffn.fc2.weight[0,64]".
std::string StoredName(const std::string& tensor,
                       const std::vector<int64_t>& offset);

// A snapshot of what a rank stores, in memory in the order of the file, so that
// training continues while it is written. Created once, filled for every save.
class ShardImage {
 public:
  explicit ShardImage(std::vector<TensorToStore> tensors);

  struct Entry {
    int tensor = 0;  // index into tensors()
    Box box;
    int64_t begin = 0;  // first of its bytes (C order) in data()
    int64_t num_bytes = 0;
  };
  const std::vector<TensorToStore>& tensors() const { return tensors_; }
  const std::vector<Entry>& entries() const { return entries_; }  // by begin
  std::span<std::byte> data() const { return {data_.get(), data_bytes_}; }
  // The file's bytes before data().
  std::string Header(const std::string& save_id) const;

  // Faults in the pages of the memory, which the first fill would otherwise
  // wait for.
  void Touch();

 private:
  std::vector<TensorEntry> FileEntries() const;

  std::vector<TensorToStore> tensors_;
  std::vector<Entry> entries_;
  size_t data_bytes_ = 0;
  std::unique_ptr<std::byte[]> data_;
};

// shard-00001-of-00004.safetensors
std::string ShardFileName(int rank, int num_ranks);

// Writes the image as a new file of `folder`, makes its bytes durable, and
// returns what the shard adds to the manifest: its one file, all tensors, and
// the boxes with their checksums. StorageError.
absl::StatusOr<Manifest> WriteShard(const std::string& folder,
                                    const std::string& save_id, int rank,
                                    int num_ranks, const ShardImage& image);

// Reads a whole shard back, bypassing the page cache, and compares every
// checksum. DamagedError names file, tensor and the offset of the corrupt
// bytes.
absl::Status VerifyShard(const std::string& step_folder,
                         const Manifest& manifest, int file);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_FILES_SHARD_FILE_H_
