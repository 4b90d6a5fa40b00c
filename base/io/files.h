// Files that are checked before reading and written completely or not at all.
// All calls go through base/io/system_calls.h, so tests can make any of them
// fail. Calls that a signal interrupts (EINTR) are retried, except fsync and
// close. New files and folders get mode 0666 and 0777, less the umask.
#ifndef LEXTRA_BASE_IO_FILES_H_
#define LEXTRA_BASE_IO_FILES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace lextra {

// The bytes of a regular file of at most `max_bytes`. Errors name the path and
// the system's error; they are InputErrors, or StorageErrors if the device
// failed (EIO, ESTALE, ETIMEDOUT) or the host is out of descriptors or memory.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes);

// Replaces `path` by `bytes`: temporary file in the same folder, write, fsync,
// rename, fsync of the folder. A reader sees the old or the new file, never a
// part. Errors are StorageErrors and leave the old file, unless only the fsync
// of the folder failed.
absl::Status AtomicWrite(const std::string& path, std::string_view bytes);

// `path`.tmp-<16 hexadecimal digits>: a name next to `path` that is unique
// across hosts and containers, where process ids may coincide. Always the same
// within a process, so that a leftover of a failed write is replaced.
std::string TemporaryName(const std::string& path);

// Whether `name` is a TemporaryName of the file name `file`, or one of earlier
// versions (.tmp-<process id>).
bool IsTemporaryNameOf(std::string_view name, std::string_view file);

// Removes what dead AtomicWrites of these files left in a folder. Anything but
// a regular file is not theirs and stays.
absl::Status RemoveTemporaries(const std::string& folder,
                               std::span<const std::string_view> files);

// Appends complete lines to `path`, which is created if missing. An append is
// complete or undone: after an error (a full disk) the file is truncated to its
// old size. If the file ends within a line, because a process died there, the
// new lines begin on a new line. For one writer at a time.
absl::Status AppendToFile(const std::string& path, std::string_view bytes);

// Truncates a file to `size` bytes, durably. StorageError.
absl::Status TruncateFile(const std::string& path, int64_t size);

// fsync of a folder: makes the names in it durable.
absl::Status SyncFolder(const std::string& path);

// Creates `path` and its parents, and makes the new names durable.
absl::Status MakeFolders(const std::string& path);

// Creates the folder `path`, which must not exist.
absl::Status MakeNewFolder(const std::string& path);

// Renames a file or folder; a file at `to` is replaced.
absl::Status Rename(const std::string& from, const std::string& to);

// Renames, or leaves both as they were: StorageError if `to` exists.
// kUnimplemented if the file system does not support it (EINVAL).
absl::Status RenameNoReplace(const std::string& from, const std::string& to);

// Removes a file, or a folder with its contents; links are not followed. A
// missing path is no error.
absl::Status RemoveTree(const std::string& path);

// Names in a folder, sorted. InputError if it can't be read.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// Bytes that an unprivileged process may still write below `path`.
absl::StatusOr<int64_t> FreeBytes(const std::string& path);

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_FILES_H_
