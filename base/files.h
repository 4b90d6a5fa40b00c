// Files that are read after a check and written whole or not at all.
#ifndef LEXTRA_BASE_FILES_H_
#define LEXTRA_BASE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace lextra {

// The bytes of a regular file of at most `max_bytes`. Errors name the path and
// what the system said; they are InputErrors.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes);

// Replaces `path` by `bytes`: temporary file in the same folder, write, fsync,
// rename, fsync of the folder. A reader sees the old or the new file, never a
// part. Errors are StorageErrors.
absl::Status AtomicWrite(const std::string& path, std::string_view bytes);

// fsync of a folder: makes the names in it durable.
absl::Status SyncFolder(const std::string& path);

// Creates `path` and its parents, mode 0700 for what is new.
absl::Status MakeFolders(const std::string& path);

// A read-only map of a regular file. Empty files map to an empty span.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  int64_t size() const { return static_cast<int64_t>(size_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A file that must not exist yet, written front to back. Close() makes it
// durable (fsync); a writer destroyed without Close() leaves a file that nobody
// should use, so write into a temporary folder or name.
class FileWriter {
 public:
  static absl::StatusOr<FileWriter> Create(const std::string& path);

  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&& other) = delete;
  ~FileWriter();

  absl::Status Write(std::span<const std::byte> bytes);
  absl::Status Write(std::string_view bytes);
  absl::Status Close();
  int64_t bytes_written() const { return bytes_written_; }

 private:
  explicit FileWriter(std::string path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_ = -1;
  int64_t bytes_written_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_BASE_FILES_H_
