// Files that are read after a check and written whole or not at all. All calls
// go through base/io/system_calls.h, so tests can make any of them fail. Calls
// that a signal interrupts (EINTR) are made again, but never fsync and close.
// New files and folders have the permissions that the process's umask leaves of
// 0666 and 0777.
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

}  // namespace lextra

#endif  // LEXTRA_BASE_IO_FILES_H_
