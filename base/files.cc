#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"

namespace lextra {
namespace {

// One write call moves at most this much; Linux itself stops below 2 GiB.
constexpr size_t kMaxWriteBytes = size_t{1} << 30;

absl::Status InputSystemError(const std::string& path, int error) {
  return InputError(absl::StrCat(path, ": ", std::strerror(error)));
}

absl::Status StorageSystemError(std::string_view action,
                                const std::string& path, int error) {
  return StorageError(
      absl::StrFormat("can't %s %s: %s", action, path, std::strerror(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Opens a regular file for reading; `size` receives its length.
absl::StatusOr<int> OpenRegular(const std::string& path, int64_t* size) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return InputSystemError(path, errno);
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return InputError(absl::StrCat(path, ": not a regular file"));
  }
  *size = status.st_size;
  return descriptor;
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes) {
  int64_t size = 0;
  LEXTRA_ASSIGN_OR_RETURN(const int raw, OpenRegular(path, &size));
  const Descriptor file(raw);
  if (size > max_bytes) {
    return InputError(absl::StrFormat("%s: %d bytes, at most %d are expected",
                                      path, size, max_bytes));
  }
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + done,
                             std::min(bytes.size() - done, kMaxWriteBytes));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return InputSystemError(path, errno);
    if (got == 0) {
      return InputError(
          absl::StrFormat("%s: ended after %d of %d bytes", path, done, size));
    }
    done += got;
  }
  return bytes;
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY));
  if (folder.get() < 0) return StorageSystemError("open", path, errno);
  if (fsync(folder.get()) != 0) return StorageSystemError("sync", path, errno);
  return absl::OkStatus();
}

absl::Status MakeFolders(const std::string& path) {
  std::string so_far;
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    so_far = so_far.empty() ? part.string()
                            : (std::filesystem::path(so_far) / part).string();
    if (so_far.empty()) continue;
    if (mkdir(so_far.c_str(), 0700) == 0) continue;
    const int error = errno;
    std::error_code ignored;
    if (std::filesystem::is_directory(so_far, ignored)) continue;
    return StorageSystemError("make folder", so_far, error);
  }
  return absl::OkStatus();
}

absl::Status AtomicWrite(const std::string& path, std::string_view bytes) {
  const std::string temporary = absl::StrFormat("%s.tmp-%d", path, getpid());
  unlink(temporary.c_str());
  absl::Status status = [&]() -> absl::Status {
    LEXTRA_ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(temporary));
    LEXTRA_RETURN_IF_ERROR(writer.Write(bytes));
    LEXTRA_RETURN_IF_ERROR(writer.Close());
    if (rename(temporary.c_str(), path.c_str()) != 0) {
      return StorageSystemError("rename to", path, errno);
    }
    return SyncFolder(ParentFolder(path));
  }();
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  int64_t size = 0;
  LEXTRA_ASSIGN_OR_RETURN(const int raw, OpenRegular(path, &size));
  const Descriptor file(raw);
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = size;
  if (size == 0) return mapped;
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) {
    mapped.size_ = 0;
    return InputSystemError(path, errno);
  }
  mapped.data_ = static_cast<const std::byte*>(data);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

absl::StatusOr<FileWriter> FileWriter::Create(const std::string& path) {
  const int descriptor = open(
      path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return StorageSystemError("create", path, errno);
  return FileWriter(path, descriptor);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_written_(other.bytes_written_) {}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status FileWriter::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(descriptor_, bytes.data(),
                              std::min(bytes.size(), kMaxWriteBytes));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return StorageSystemError("write", path_, errno);
    bytes = bytes.subspan(put);
    bytes_written_ += put;
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Write(std::string_view bytes) {
  return Write(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

absl::Status FileWriter::Close() {
  const int descriptor = std::exchange(descriptor_, -1);
  // A failed fsync is final: the kernel marks the pages clean, so a second try
  // would report success for data that is lost.
  const bool synced = fsync(descriptor) == 0;
  const int sync_error = errno;
  if (close(descriptor) != 0) return StorageSystemError("close", path_, errno);
  if (!synced) return StorageSystemError("sync", path_, sync_error);
  return absl::OkStatus();
}

}  // namespace lextra
