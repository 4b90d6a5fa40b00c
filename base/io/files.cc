#include "base/io/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/io/system_calls.h"
#include "base/work_counter.h"

namespace lextra {
namespace {

// One call moves at most this much: each is a piece of work that counts
// (base/work_counter.h), also where a disk takes seconds for a few megabytes.
constexpr size_t kMaxTransferBytes = size_t{8} << 20;

// A file being written is handed to the device in parts of this size, so that
// the device is at work before the last byte is there.
constexpr int64_t kWriteBackBytes = int64_t{8} << 20;
// What is durable when this much more is written: bounds the time of a single
// fsync, in which nobody can tell a slow disk from one that hangs.
constexpr int64_t kSyncBytes = int64_t{256} << 20;

constexpr std::string_view kTemporaryMark = ".tmp-";
constexpr size_t kTemporaryDigits = 16;

// Calls again while a signal interrupts. Not for fsync and close: after a
// failure the kernel has forgotten the data and the descriptor.
template <typename Call>
auto WithoutInterruptions(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  CountWork();
  return result;
}

absl::Status ReadSystemError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  // Of the device or the machine, these say nothing about what is stored.
  for (const int elsewhere :
       {EIO, ESTALE, ETIMEDOUT, EMFILE, ENFILE, ENOMEM, EACCES, EPERM}) {
    if (error == elsewhere) return StorageError(message);
  }
  return InputError(message);
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
    if (descriptor_ >= 0) sys::Close(descriptor_);
  }
  int get() const { return descriptor_; }
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

// Opens a regular file for reading; `size` receives its length.
absl::StatusOr<int> OpenRegular(const std::string& path, int64_t* size) {
  // O_NONBLOCK: the open of a FIFO would wait for its writer.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  Descriptor file(
      WithoutInterruptions([&] { return sys::Open(path.c_str(), flags); }));
  if (file.get() < 0) return ReadSystemError(path, errno);
  struct stat status;
  if (fstat(file.get(), &status) != 0) return ReadSystemError(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return InputError(absl::StrCat(path, ": not a regular file"));
  }
  *size = status.st_size;
  return file.Release();
}

// Fills `bytes` from `offset` on.
absl::Status ReadAll(const std::string& path, int descriptor, int64_t offset,
                     std::span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t size = std::min(bytes.size() - done, kMaxTransferBytes);
    const ssize_t got = WithoutInterruptions([&] {
      return sys::Pread(descriptor, bytes.data() + done, size,
                        offset + static_cast<int64_t>(done));
    });
    if (got < 0) return ReadSystemError(path, errno);
    if (got == 0) {
      return InputError(absl::StrFormat("%s: ended after %d of %d bytes", path,
                                        offset + done, offset + bytes.size()));
    }
    done += got;
  }
  return absl::OkStatus();
}

// Whether a file's last line has no end. A log or journal that is not a regular
// file (/dev/null, say) has no size and no last line.
absl::StatusOr<bool> EndsWithinALine(const std::string& path, int descriptor,
                                     int64_t size) {
  if (size == 0) return false;
  std::byte last{};
  const absl::Status status =
      ReadAll(path, descriptor, size - 1, std::span(&last, 1));
  if (!status.ok()) return StorageError(std::string(status.message()));
  return last != std::byte{'\n'};
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent;
}

int Unlink(const std::string& path) {
  return WithoutInterruptions([&] { return sys::Unlink(path.c_str()); });
}

absl::Status SyncAndClose(const std::string& path, int descriptor) {
  // A failed fsync is final: the kernel marks the pages clean, so a second try
  // would report success for data that is lost.
  const bool synced = sys::Fsync(descriptor) == 0;
  const int sync_error = errno;
  // An interrupted close has closed, and what it closed is durable.
  const bool closed = sys::Close(descriptor) == 0 || errno == EINTR;
  const int close_error = errno;
  CountWork();
  if (!synced) return StorageSystemError("sync", path, sync_error);
  if (!closed) return StorageSystemError("close", path, close_error);
  return absl::OkStatus();
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
  LEXTRA_RETURN_IF_ERROR(
      ReadAll(path, file.get(), 0,
              std::as_writable_bytes(std::span(bytes.data(), bytes.size()))));
  return bytes;
}

absl::Status SyncFolder(const std::string& path) {
  const int folder = WithoutInterruptions([&] {
    return sys::Open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  });
  if (folder < 0) return StorageSystemError("open", path, errno);
  return SyncAndClose(path, folder);
}

absl::Status MakeFolders(const std::string& path) {
  std::string so_far;
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    so_far = so_far.empty() ? part.string()
                            : (std::filesystem::path(so_far) / part).string();
    if (so_far.empty()) continue;
    const absl::Status made = MakeNewFolder(so_far);
    if (made.ok()) {
      LEXTRA_RETURN_IF_ERROR(SyncFolder(ParentFolder(so_far)));
      continue;
    }
    std::error_code ignored;
    if (!std::filesystem::is_directory(so_far, ignored)) return made;
  }
  return absl::OkStatus();
}

absl::Status MakeNewFolder(const std::string& path) {
  if (WithoutInterruptions([&] { return sys::Mkdir(path.c_str(), 0777); }) !=
      0) {
    return StorageSystemError("make folder", path, errno);
  }
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (WithoutInterruptions(
          [&] { return sys::Rename(from.c_str(), to.c_str()); }) != 0) {
    return StorageSystemError("rename", absl::StrCat(from, " to ", to), errno);
  }
  return absl::OkStatus();
}

absl::Status RenameNoReplace(const std::string& from, const std::string& to) {
  if (WithoutInterruptions([&] {
        return sys::RenameNoReplace(from.c_str(), to.c_str());
      }) == 0) {
    return absl::OkStatus();
  }
  const bool no_such_call = errno == EINVAL || errno == ENOSYS;
  const absl::Status error =
      StorageSystemError("rename", absl::StrCat(from, " to ", to), errno);
  return no_such_call ? absl::UnimplementedError(error.message()) : error;
}

absl::Status RemoveTree(const std::string& path) {
  // Unlinking first means that a link is never taken for the folder it names.
  if (Unlink(path) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR) return StorageSystemError("remove", path, errno);
  std::vector<std::string> names;
  if (WithoutInterruptions([&] { return sys::List(path.c_str(), &names); }) !=
      0) {
    return StorageSystemError("remove", path, errno);
  }
  for (const std::string& name : names) {
    LEXTRA_RETURN_IF_ERROR(RemoveTree(absl::StrCat(path, "/", name)));
  }
  if (WithoutInterruptions([&] { return sys::Rmdir(path.c_str()); }) != 0 &&
      errno != ENOENT) {
    return StorageSystemError("remove", path, errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  if (WithoutInterruptions([&] { return sys::List(path.c_str(), &names); }) !=
      0) {
    return ReadSystemError(path, errno);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<int64_t> FreeBytes(const std::string& path) {
  struct statvfs status;
  if (WithoutInterruptions(
          [&] { return sys::Statvfs(path.c_str(), &status); }) != 0) {
    return StorageSystemError("ask for the free space of", path, errno);
  }
  // File systems without bounds answer with products beyond 64 bits.
  const uint64_t block_bytes = std::max<uint64_t>(status.f_frsize, 1);
  const uint64_t max_blocks = std::numeric_limits<int64_t>::max() / block_bytes;
  return std::min<uint64_t>(status.f_bavail, max_blocks) * block_bytes;
}

std::string TemporaryName(const std::string& path) {
  static const unsigned int drawn = std::random_device()();
  return absl::StrFormat("%s%s%08x%08x", path, std::string(kTemporaryMark),
                         drawn, getpid());  // for a fork, the id
}

bool IsTemporaryNameOf(std::string_view name, std::string_view file) {
  if (!name.starts_with(file)) return false;
  name.remove_prefix(file.size());
  if (!name.starts_with(kTemporaryMark)) return false;
  name.remove_prefix(kTemporaryMark.size());
  const bool is_number =
      !name.empty() && name.find_first_not_of("0123456789") == name.npos;
  return (is_number && name.size() < kTemporaryDigits) ||
         (name.size() == kTemporaryDigits &&
          name.find_first_not_of("0123456789abcdef") == name.npos);
}

absl::Status RemoveTemporaries(const std::string& folder,
                               std::span<const std::string_view> files) {
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return StorageError(std::string(names.status().message()));
  for (const std::string& name : *names) {
    const bool is_temporary = std::any_of(
        files.begin(), files.end(),
        [&](std::string_view file) { return IsTemporaryNameOf(name, file); });
    const std::string path = absl::StrCat(folder, "/", name);
    std::error_code ignored;
    if (is_temporary && std::filesystem::is_regular_file(
                            std::filesystem::symlink_status(path, ignored))) {
      LEXTRA_RETURN_IF_ERROR(RemoveTree(path));
    }
  }
  return absl::OkStatus();
}

absl::Status AtomicWrite(const std::string& path, std::string_view bytes) {
  const std::string temporary = TemporaryName(path);
  if (Unlink(temporary) != 0 && errno != ENOENT) {
    return StorageSystemError("remove", temporary, errno);
  }
  absl::Status status = [&]() -> absl::Status {
    LEXTRA_ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(temporary));
    LEXTRA_RETURN_IF_ERROR(writer.Write(bytes));
    LEXTRA_RETURN_IF_ERROR(writer.Close());
    return Rename(temporary, path);
  }();
  if (!status.ok()) {
    Unlink(temporary);
    return status;
  }
  return SyncFolder(ParentFolder(path));
}

absl::Status AppendToFile(const std::string& path, std::string_view bytes) {
  const int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC;
  const Descriptor file(WithoutInterruptions(
      [&] { return sys::Open(path.c_str(), flags, 0666); }));
  if (file.get() < 0) return StorageSystemError("open", path, errno);
  const off_t old_size = lseek(file.get(), 0, SEEK_END);
  if (old_size < 0) return StorageSystemError("append to", path, errno);
  LEXTRA_ASSIGN_OR_RETURN(const bool is_torn,
                          EndsWithinALine(path, file.get(), old_size));
  const std::string text =
      absl::StrCat(is_torn && !bytes.empty() ? "\n" : "",
                   absl::string_view(bytes.data(), bytes.size()));
  // One write, most often: a crash of the process leaves all of it or nothing.
  for (size_t done = 0; done < text.size();) {
    const ssize_t put = WithoutInterruptions([&] {
      return sys::Write(file.get(), text.data() + done, text.size() - done);
    });
    if (put < 0) {
      const absl::Status error = StorageSystemError("append to", path, errno);
      // What can't be undone is a torn line, which the next append ends.
      WithoutInterruptions([&] { return sys::Truncate(file.get(), old_size); });
      return error;
    }
    done += put;
  }
  return absl::OkStatus();
}

absl::Status TruncateFile(const std::string& path, int64_t size) {
  const int descriptor = WithoutInterruptions(
      [&] { return sys::Open(path.c_str(), O_WRONLY | O_CLOEXEC); });
  if (descriptor < 0) return StorageSystemError("open", path, errno);
  Descriptor file(descriptor);
  if (WithoutInterruptions([&] { return sys::Truncate(descriptor, size); }) !=
      0) {
    return StorageSystemError("cut", path, errno);
  }
  return SyncAndClose(path, file.Release());
}

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
      // A hint: what fails in it is reported by the fsync in Close().
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
