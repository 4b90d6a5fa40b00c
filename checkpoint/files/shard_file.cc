#include "checkpoint/files/shard_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/hash/crc32c.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"
#include "base/work_counter.h"
#include "checkpoint/files/shard_reader.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPageBytes = 4096;
// As long as a real one, so that the header's length is the same in all saves.
constexpr char kAnySaveId[] = "00000000000000000000000000000000";

StoredBox StoredBoxOf(const Box& box, int64_t file_offset) {
  StoredBox stored;
  stored.mutable_offset()->Assign(box.offset.begin(), box.offset.end());
  stored.mutable_shape()->Assign(box.shape.begin(), box.shape.end());
  stored.set_file_offset(file_offset);
  return stored;
}

// Writes a box's bytes, block by block, with their checksums.
absl::Status WriteBox(std::span<const std::byte> bytes, FileWriter* writer,
                      StoredBox* stored) {
  const bool has_blocks = static_cast<int64_t>(bytes.size()) > kBlockBytes;
  uint32_t whole = 0;
  while (!bytes.empty()) {
    const std::span<const std::byte> block =
        bytes.first(std::min<size_t>(bytes.size(), kBlockBytes));
    const uint32_t crc = Crc32c(block);
    whole = CombineCrc32c(whole, crc, static_cast<int64_t>(block.size()));
    if (has_blocks) stored->add_block_crc32c(crc);
    LEXTRA_RETURN_IF_ERROR(writer->Write(block));
    bytes = bytes.subspan(block.size());
  }
  stored->set_crc32c(whole);
  return absl::OkStatus();
}

}  // namespace

std::string StoredName(const std::string& tensor,
                       const std::vector<int64_t>& offset) {
  const bool at_origin = std::all_of(offset.begin(), offset.end(),
                                     [](int64_t place) { return place == 0; });
  if (at_origin) return tensor;
  return absl::StrCat(tensor, "[", absl::StrJoin(offset, ","), "]");
}

ShardImage::ShardImage(std::vector<TensorToStore> tensors)
    : tensors_(std::move(tensors)) {
  std::map<std::string, std::pair<int, const Box*>> boxes;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    for (const Box& box : tensors_[i].boxes) {
      boxes[StoredName(tensors_[i].name, box.offset)] = {static_cast<int>(i),
                                                         &box};
      entries_.push_back({static_cast<int>(i), box});
    }
  }
  if (boxes.size() != entries_.size()) std::abort();  // a box given twice
  std::vector<TensorEntry> placed = FileEntries();
  const std::string header =
      LayOutSafetensors({{"format", "pt"}, {"save_id", kAnySaveId}}, &placed);
  entries_.clear();
  for (const TensorEntry& entry : placed) {
    const auto& [tensor, box] = boxes.at(entry.name);
    entries_.push_back({tensor, *box,
                        entry.file_offset - static_cast<int64_t>(header.size()),
                        entry.num_bytes});
    data_bytes_ += entry.num_bytes;
  }
  data_ = std::make_unique_for_overwrite<std::byte[]>(data_bytes_);
}

std::vector<TensorEntry> ShardImage::FileEntries() const {
  std::vector<TensorEntry> file_entries;
  for (const Entry& entry : entries_) {
    const TensorToStore& tensor = tensors_[entry.tensor];
    file_entries.push_back({.name = StoredName(tensor.name, entry.box.offset),
                            .dtype = tensor.dtype,
                            .shape = entry.box.shape});
  }
  return file_entries;
}

std::string ShardImage::Header(const std::string& save_id) const {
  std::vector<TensorEntry> entries = FileEntries();
  return LayOutSafetensors({{"format", "pt"}, {"save_id", save_id}}, &entries);
}

void ShardImage::Touch() {
  // Huge pages if available: a copy then has fewer TLB misses.
  void* begin = data_.get();
  size_t size = data_bytes_;
  if (std::align(kPageBytes, 1, begin, size) != nullptr) {
    madvise(begin, size, MADV_HUGEPAGE);
  }
  for (size_t i = 0; i < data_bytes_; i += kPageBytes) {
    data_[i] = std::byte{0};
    CountWork();
  }
}

std::string ShardFileName(int rank, int num_ranks) {
  return absl::StrFormat("shard-%05d-of-%05d.safetensors", rank, num_ranks);
}

absl::StatusOr<Manifest> WriteShard(const std::string& folder,
                                    const std::string& save_id, int rank,
                                    int num_ranks, const ShardImage& image) {
  Manifest shard;
  shard.set_format_version(kManifestVersion);
  for (const TensorToStore& tensor : image.tensors()) {
    TensorIndex* index = shard.add_tensors();
    index->set_name(tensor.name);
    index->set_dtype(tensor.dtype);
    index->mutable_shape()->Assign(tensor.global_shape.begin(),
                                   tensor.global_shape.end());
  }
  const std::string header = image.Header(save_id);
  ShardFile* file = shard.add_files();
  file->set_name(ShardFileName(rank, num_ranks));
  file->set_header_bytes(static_cast<int64_t>(header.size()));
  file->set_header_crc32c(
      Crc32c(std::as_bytes(std::span(header.data(), header.size()))));

  LEXTRA_ASSIGN_OR_RETURN(
      FileWriter writer,
      FileWriter::Create((fs::path(folder) / file->name()).string()));
  sys::KillPoint("shard_created");
  LEXTRA_RETURN_IF_ERROR(writer.Write(header));
  for (const ShardImage::Entry& entry : image.entries()) {
    StoredBox* stored = shard.mutable_tensors(entry.tensor)->add_boxes();
    *stored = StoredBoxOf(entry.box, writer.bytes_written());
    LEXTRA_RETURN_IF_ERROR(WriteBox(
        image.data().subspan(entry.begin, entry.num_bytes), &writer, stored));
    sys::KillPoint("box_written");
  }
  sys::KillPoint("shard_written");
  LEXTRA_RETURN_IF_ERROR(writer.Close());
  sys::KillPoint("shard_durable");
  file->set_bytes(writer.bytes_written());
  return shard;
}

absl::Status VerifyShard(const std::string& step_folder,
                         const Manifest& manifest, int file) {
  {
    // A separate handle: the reader opens its files on demand.
    const absl::StatusOr<InputFile> cached = InputFile::Open(
        (fs::path(step_folder) / manifest.files(file).name()).string());
    if (cached.ok()) cached->DropCache();
  }
  int64_t header_bytes = 0;
  LEXTRA_RETURN_IF_ERROR(
      OpenShard(step_folder, manifest, file, &header_bytes).status());
  ShardReader reader(step_folder, manifest);
  std::vector<std::byte> bytes;
  for (const TensorIndex& tensor : manifest.tensors()) {
    for (const StoredBox& stored : tensor.boxes()) {
      if (stored.file() != file) continue;
      const Box box = BoxOf(stored);
      bytes.resize(box.num_elements() * *DtypeBytes(tensor.dtype()));
      LEXTRA_RETURN_IF_ERROR(reader.Read(tensor, box, bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace lextra
