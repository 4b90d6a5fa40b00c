// Files that are read after a check and written whole or not at all. All calls
// go through base/io/system_calls.h, so tests can make any of them fail. Calls
// that a signal interrupts (EINTR) are made again, but never fsync and close.
// New files and folders have the permissions that the process's umask leaves of
// 0666 and 0777.
#ifndef LEXTRA_BASE_IO_FILES_H_
#define LEXTRA_BASE_IO_FILES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/mapped_range.h"
#include "base/status.h"

namespace lextra {

// The bytes of a regular file of at most `max_bytes`. Errors name the path and
// what the system said; they are InputErrors, but StorageErrors where the
// device failed (EIO, ESTALE, ETIMEDOUT) or the machine is short of descriptors
// or memory.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes);

// Replaces `path` by `bytes`: temporary file in the same folder, write, fsync,
// rename, fsync of the folder. A reader sees the old or the new file, never a
// part. Errors are StorageErrors; the old file is still there then, unless it
// was the folder that could not be made durable.
absl::Status AtomicWrite(const std::string& path, std::string_view bytes);

// `path`.tmp-<16 hexadecimal digits>: a name beside `path` that no process of
// another host or container gives, where process ids are equal. Within a
// process always the same, so what a write left that could not be undone is
// replaced.
std::string TemporaryName(const std::string& path);

// Whether `name` is one that TemporaryName gives for the file name `file`, or
// earlier versions gave (.tmp-<process id>).
bool IsTemporaryNameOf(std::string_view name, std::string_view file);

// Removes what AtomicWrites of these files of a folder left when they died.
// What is no regular file is not theirs and stays.
absl::Status RemoveTemporaries(const std::string& folder,
                               std::span<const std::string_view> files);

// Adds whole lines to the end of `path`, which is made if it is not there. An
// append is whole or undone: what an error (a full disk) left of it is cut off
// again. Where the file ends in the midst of a line, because a process died
// there, the new lines begin on a line of their own. For one writer at a time.
absl::Status AppendToFile(const std::string& path, std::string_view bytes);

// Cuts a file off after its first `size` bytes, durably. StorageError.
absl::Status TruncateFile(const std::string& path, int64_t size);

// fsync of a folder: makes the names in it durable.
absl::Status SyncFolder(const std::string& path);

// Creates `path` and its parents, and makes the new names durable.
absl::Status MakeFolders(const std::string& path);

// Creates the folder `path`, which must not exist.
absl::Status MakeNewFolder(const std::string& path);

// Renames a file or folder; a file at `to` is replaced.
absl::Status Rename(const std::string& from, const std::string& to);

// Renames, or leaves both as they were: StorageError where `to` exists. Where
// the file system has no such call (EINVAL), the answer is kUnimplemented.
absl::Status RenameNoReplace(const std::string& from, const std::string& to);

// Removes a file, or a folder with all that is in it; links are not followed.
// What is not there is no error.
absl::Status RemoveTree(const std::string& path);

// Names in a folder, sorted. InputError if it can't be read.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// Bytes that a process without privileges may still write below `path`.
absl::StatusOr<int64_t> FreeBytes(const std::string& path);

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

  // InputError where the file has become shorter since it was opened: what was
  // cut off reads as 0 up to the end of its page, and ends the process by
  // SIGBUS beyond (base/io/mapped_range.h). A fraction of a microsecond.
  absl::Status CheckSize() const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::unique_ptr<const MappedRange> range_;  // null: nothing is mapped
};

// A regular file, or a link to one, that is read at chosen places.
class InputFile {
 public:
  static absl::StatusOr<InputFile> Open(const std::string& path);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  // Fills `bytes` from `offset` on. InputError where the file is shorter,
  // StorageError where the device failed.
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

// A file that must not exist yet (not even as a link), written front to back.
// Close() makes it durable (fsync); a writer destroyed without Close() leaves a
// file that nobody should use, so write into a temporary folder or name.
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

#endif  // LEXTRA_BASE_IO_FILES_H_
