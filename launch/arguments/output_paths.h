// Paths as people type them: with a slash or a dot at the end, relative,
// through links. And whether what a command is going to write can be written,
// asked before the work that yields it.
#ifndef LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_
#define LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_

#include <string>

#include "base/status.h"

namespace lextra {

// `path` from the root, without "." parts and a slash at its end; links and
// ".." stay as they are. An empty path stays empty.
std::string AbsolutePath(const std::string& path);

// The folder that the checkpoint lies in, from the root: RUN of RUN/step-N,
// also where that is a link. A link of another name is followed first.
std::string RunFolderOfCheckpoint(const std::string& step_folder);

// UsageError where `path`, the value of `flag`, is a checkpoint or lies in one:
// it would be deleted, and not copied, with it.
absl::Status CheckOutsideCheckpoints(const std::string& flag,
                                     const std::string& path);

// Makes a file beside `path` and removes it, as an atomic write of `path` will.
// StorageError where that fails, or where `path` is there and no regular file.
absl::Status CheckCanBeWritten(const std::string& path);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_
