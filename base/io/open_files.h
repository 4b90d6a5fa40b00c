// Files that stay open: mapped, read at given offsets, or written sequentially.
// Errors are those of base/io/files.h.
#ifndef LEXTRA_BASE_IO_OPEN_FILES_H_
#define LEXTRA_BASE_IO_OPEN_FILES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/io/mapped_range.h"
#include "base/status.h"

namespace lextra {

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

  // InputError if the file was truncated since it was opened: the missing part
  // reads as 0 up to the end of its page, and ends the process by SIGBUS beyond
  // (base/io/mapped_range.h). Takes a fraction of a microsecond.
  absl::Status CheckSize() const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::unique_ptr<const MappedRange> range_;  // null: nothing is mapped
};

// A regular file, or a link to one, that is read at given offsets.
class InputFile {
 public:
  static absl::StatusOr<InputFile> Open(const std::string& path);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  // Fills `bytes` from `offset` on. InputError if the file is shorter,
  // StorageError if the device failed.
  absl::Status Read(int64_t offset, std::span<std::byte> bytes) const;

  // Asks the system to forget cached pages, so that the next read comes from
  // the device. Pages that are not yet durable stay.
  void DropCache() const;

  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  InputFile(std::string path, int descriptor, int64_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// A file that must not exist yet (not even as a link), written sequentially.
// Close() makes it durable (fsync). A writer destroyed without Close() leaves
// an incomplete file, so write to a temporary folder or name.
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
  int64_t bytes_handed_over_ = 0;  // to the device, not yet durable
  int64_t bytes_durable_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_OPEN_FILES_H_
