#include "base/io/open_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io/checked_calls.h"

namespace lextra {
namespace {

// Writeback starts in parts of this size, so that the device is busy before the
// last byte is written.
constexpr int64_t kWriteBackBytes = int64_t{8} << 20;
// Bytes between two fsyncs: bounds the time of a single one, during which a
// slow disk cannot be told from one that hangs.
constexpr int64_t kSyncBytes = int64_t{256} << 20;

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  int64_t size = 0;
  LEXTRA_ASSIGN_OR_RETURN(const int raw, OpenRegular(path, &size));
  Descriptor file(raw);
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = size;
  if (size == 0) return mapped;
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) {
    mapped.size_ = 0;
    return ReadSystemError(path, errno);
  }
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.range_ = std::make_unique<const MappedRange>(mapped.data_, size, path,
                                                      file.Release());
  return mapped;
}

absl::Status MappedFile::CheckSize() const {
  const std::string problem = range_ == nullptr ? "" : range_->Problem();
  return problem.empty() ? absl::OkStatus() : InputError(problem);
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(range_, other.range_);
  return *this;
}

MappedFile::~MappedFile() {
  range_.reset();
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  int64_t size = 0;
  LEXTRA_ASSIGN_OR_RETURN(const int descriptor, OpenRegular(path, &size));
  return InputFile(path, descriptor, size);
}

InputFile::InputFile(InputFile&& other) noexcept { *this = std::move(other); }

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) sys::Close(descriptor_);
}

absl::Status InputFile::Read(int64_t offset, std::span<std::byte> bytes) const {
  return ReadAll(path_, descriptor_, offset, bytes);
}

void InputFile::DropCache() const {
  posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
}

absl::StatusOr<FileWriter> FileWriter::Create(const std::string& path) {
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int descriptor = WithoutInterruptions(
      [&] { return sys::Open(path.c_str(), flags, 0666); });
  if (descriptor < 0) return StorageSystemError("create", path, errno);
  return FileWriter(path, descriptor);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_written_(other.bytes_written_),
      bytes_handed_over_(other.bytes_handed_over_),
      bytes_durable_(other.bytes_durable_) {}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) sys::Close(descriptor_);
}

absl::Status FileWriter::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), kMaxTransferBytes);
    const ssize_t put = WithoutInterruptions(
        [&] { return sys::Write(descriptor_, bytes.data(), size); });
    if (put < 0) return StorageSystemError("write", path_, errno);
    bytes = bytes.subspan(put);
    bytes_written_ += put;
    if (bytes_written_ - bytes_handed_over_ >= kWriteBackBytes) {
      // A hint: its errors are reported by the fsync in Close().
      sync_file_range(descriptor_, bytes_handed_over_,
                      bytes_written_ - bytes_handed_over_,
                      SYNC_FILE_RANGE_WRITE);
      bytes_handed_over_ = bytes_written_;
    }
    if (bytes_written_ - bytes_durable_ >= kSyncBytes) {
      if (sys::Fsync(descriptor_) != 0) {
        return StorageSystemError("sync", path_, errno);
      }
      CountWork();
      bytes_durable_ = bytes_written_;
    }
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Write(std::string_view bytes) {
  return Write(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

absl::Status FileWriter::Close() {
  return SyncAndClose(path_, std::exchange(descriptor_, -1));
}

}  // namespace lextra
