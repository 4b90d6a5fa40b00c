#include "checkpoint/files/shard_reader.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/hash/crc32c.h"
#include "base/io/open_files.h"
#include "checkpoint/files/safetensors.h"

namespace lextra {
namespace {

// For a shard without checksums (version 1): at least it must not be from
// another save.
absl::Status CheckSaveId(const std::string& path, const Manifest& manifest) {
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) return DamagedError(std::string(file.status().message()));
  const auto save_id = file->metadata().find("save_id");
  const std::string found =
      save_id == file->metadata().end() ? "" : save_id->second;
  if (found == manifest.save_id()) return absl::OkStatus();
  return DamagedError(
      absl::StrFormat("%s: belongs to save '%s', the manifest to '%s'", path,
                      found, manifest.save_id()));
}

absl::Status CheckHeader(const InputFile& file, const ShardFile& stated) {
  std::vector<std::byte> header(stated.header_bytes());
  LEXTRA_RETURN_IF_ERROR(ReadShardBytes(file, 0, header));
  const uint32_t found = Crc32c(header);
  if (found == stated.header_crc32c()) return absl::OkStatus();
  return DamagedError(absl::StrFormat(
      "%s: CRC-32C of its %d-byte header is %08x, expected %08x: the file is "
      "corrupt, or from another save",
      file.path(), stated.header_bytes(), found, stated.header_crc32c()));
}

}  // namespace

absl::Status ReadShardBytes(const InputFile& file, int64_t offset,
                            std::span<std::byte> bytes) {
  absl::Status status = file.Read(offset, bytes);
  if (ExitCodeOf(status) == ExitCode::kStorage) {
    // With a new handle: a stale one stays stale.
    const absl::StatusOr<InputFile> again = InputFile::Open(file.path());
    if (again.ok()) status = again->Read(offset, bytes);
  }
  if (ExitCodeOf(status) == ExitCode::kInput) {
    return DamagedError(std::string(status.message()));
  }
  return status;
}

absl::StatusOr<InputFile> OpenShard(const std::string& step_folder,
                                    const Manifest& manifest, int file,
                                    int64_t* header_bytes) {
  const ShardFile& stated = manifest.files(file);
  const std::string path =
      (std::filesystem::path(step_folder) / stated.name()).string();
  absl::StatusOr<InputFile> opened = InputFile::Open(path);
  if (ExitCodeOf(opened.status()) == ExitCode::kStorage) {
    opened = InputFile::Open(path);
  }
  if (!opened.ok()) {
    return ExitCodeOf(opened.status()) == ExitCode::kStorage
               ? opened.status()
               : DamagedError(std::string(opened.status().message()));
  }
  if (opened->size() != stated.bytes()) {
    return DamagedError(
        absl::StrFormat("%s: %d bytes, but the manifest says %d", path,
                        opened->size(), stated.bytes()));
  }
  LEXTRA_RETURN_IF_ERROR(HasChecksums(manifest) ? CheckHeader(*opened, stated)
                                                : CheckSaveId(path, manifest));
  *header_bytes = stated.header_bytes();
  return opened;
}

ShardReader::ShardReader(const std::string& step_folder,
                         const Manifest& manifest)
    : step_folder_(step_folder), manifest_(manifest) {
  for (const TensorIndex& tensor : manifest.tensors()) {
    tensors_[tensor.name()] = &tensor;
  }
}

absl::StatusOr<const TensorIndex*> ShardReader::Find(
    const std::string& name, const std::string& dtype,
    const std::vector<int64_t>& shape) const {
  const auto place = tensors_.find(name);
  const std::string kind = KindText(dtype, shape);
  if (place == tensors_.end()) {
    return CheckpointError(
        absl::StrFormat("%s: no tensor '%s' (expected: %s) among its %d",
                        step_folder_, name, kind, tensors_.size()));
  }
  const std::string stored =
      KindText(place->second->dtype(), ShapeOf(*place->second));
  if (stored == kind) return place->second;
  return CheckpointError(absl::StrFormat("%s: tensor '%s' is %s, expected %s",
                                         step_folder_, name, stored, kind));
}

absl::Status ShardReader::Read(const TensorIndex& tensor, const Box& wanted,
                               std::span<std::byte> bytes) {
  for (const StoredBox& stored : tensor.boxes()) {
    LEXTRA_RETURN_IF_ERROR(ReadCommon(tensor, stored, wanted, bytes));
  }
  return absl::OkStatus();
}

absl::Status ShardReader::ReadCommon(const TensorIndex& tensor,
                                     const StoredBox& stored, const Box& wanted,
                                     std::span<std::byte> bytes) {
  const Box box = BoxOf(stored);
  const std::optional<Box> common = Intersect(box, wanted);
  if (!common) return absl::OkStatus();
  const int64_t element_bytes = *DtypeBytes(tensor.dtype());
  const int64_t box_bytes = box.num_elements() * element_bytes;
  absl::Status status;
  std::span<const std::byte> block;
  int64_t number = -1;
  // Runs come in the order of the file, so each block is read once.
  ForEachRun(*common, box, wanted,
             [&](int64_t from, int64_t to, int64_t count) {
               from *= element_bytes;
               to *= element_bytes;
               const int64_t end = from + count * element_bytes;
               while (status.ok() && from < end) {
                 if (from / kBlockBytes != number) {
                   number = from / kBlockBytes;
                   auto read = ReadBlock(tensor, stored, box_bytes, number);
                   status = read.status();
                   if (!status.ok()) return;
                   block = *read;
                 }
                 const int64_t begin = from - number * kBlockBytes;
                 const int64_t size = std::min<int64_t>(
                     end - from, static_cast<int64_t>(block.size()) - begin);
                 std::memcpy(bytes.data() + to, block.data() + begin, size);
                 from += size;
                 to += size;
               }
             });
  return status;
}

absl::StatusOr<std::span<const std::byte>> ShardReader::ReadBlock(
    const TensorIndex& tensor, const StoredBox& stored, int64_t box_bytes,
    int64_t block) {
  LEXTRA_ASSIGN_OR_RETURN(const InputFile* file, Open(stored.file()));
  const int64_t begin = block * kBlockBytes;
  block_.resize(std::min(kBlockBytes, box_bytes - begin));
  const int64_t offset = stored.file_offset() + begin;
  LEXTRA_RETURN_IF_ERROR(ReadShardBytes(*file, offset, block_));
  bytes_read_ += static_cast<int64_t>(block_.size());
  if (!HasChecksums(manifest_)) return block_;
  const uint32_t found = Crc32c(block_);
  const uint32_t stated = BlockCrc32c(stored, block);
  if (found == stated) return block_;
  return DamagedError(absl::StrFormat(
      "%s: tensor '%s': CRC-32C of the %d bytes from byte %d on is %08x, "
      "expected %08x",
      file->path(), tensor.name(), block_.size(), offset, found, stated));
}

absl::StatusOr<const InputFile*> ShardReader::Open(int file) {
  const auto place = files_.find(file);
  if (place != files_.end()) return &place->second;
  int64_t header_bytes = 0;
  LEXTRA_ASSIGN_OR_RETURN(InputFile opened, OpenShard(step_folder_, manifest_,
                                                      file, &header_bytes));
  bytes_read_ += header_bytes;
  return &files_.emplace(file, std::move(opened)).first->second;
}

}  // namespace lextra
