#include "base/io/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/io/checked_calls.h"
#include "base/io/open_files.h"
#include "base/io/system_calls.h"

namespace lextra {
namespace {

constexpr std::string_view kTemporaryMark = ".tmp-";
constexpr size_t kTemporaryDigits = 16;

// Whether a file's last line has no newline. A log or journal that is not a
// regular file (/dev/null, say) has no size and no last line.
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

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes) {
  int64_t size = 0;
  LEXTRA_ASSIGN_OR_RETURN(const int raw, OpenRegular(path, &size));
  const Descriptor file(raw);
  if (size > max_bytes) {
    return InputError(absl::StrFormat("%s: %d bytes, expected at most %d", path,
                                      size, max_bytes));
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
    return StorageSystemError("create folder", path, errno);
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
  // Unlinks first, so that a link is never mistaken for the folder it names.
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
    return StorageSystemError("query the free space of", path, errno);
  }
  // File systems without a limit report products beyond 64 bits.
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
  // Usually one write: a crash of the process leaves all of it or nothing.
  for (size_t done = 0; done < text.size();) {
    const ssize_t put = WithoutInterruptions([&] {
      return sys::Write(file.get(), text.data() + done, text.size() - done);
    });
    if (put < 0) {
      const absl::Status error = StorageSystemError("append to", path, errno);
      // If this fails, a torn line remains, which the next append ends.
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
    return StorageSystemError("truncate", path, errno);
  }
  return SyncAndClose(path, file.Release());
}

}  // namespace lextra
