#include "base/io/checked_calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lextra {

absl::Status ReadSystemError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  // These are of the device or the host and say nothing about the stored data.
  for (const int elsewhere :
       {EIO, ESTALE, ETIMEDOUT, EMFILE, ENFILE, ENOMEM, EACCES, EPERM}) {
    if (error == elsewhere) return StorageError(message);
  }
  return InputError(message);
}

absl::Status StorageSystemError(std::string_view action,
                                const std::string& path, int error) {
  return StorageError(absl::StrFormat("failed to %s %s: %s", action, path,
                                      std::strerror(error)));
}

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

absl::Status SyncAndClose(const std::string& path, int descriptor) {
  // A failed fsync is final: the kernel marks the pages clean, so a second try
  // would report success for data that is lost.
  const bool synced = sys::Fsync(descriptor) == 0;
  const int sync_error = errno;
  // An interrupted close has closed, and the data are durable.
  const bool closed = sys::Close(descriptor) == 0 || errno == EINTR;
  const int close_error = errno;
  CountWork();
  if (!synced) return StorageSystemError("sync", path, sync_error);
  if (!closed) return StorageSystemError("close", path, close_error);
  return absl::OkStatus();
}

}  // namespace lextra
