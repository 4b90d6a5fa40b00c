// Paths as people type them: with a trailing slash or dot, relative, through
// links. And whether the output of a command can be written, checked before the
// work that produces it.
#ifndef LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_
#define LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_

#include <string>

#include "base/status.h"

namespace lextra {

// `path` made absolute, without "." parts and a trailing slash; links and ".."
// are kept. An empty path stays empty.
std::string AbsolutePath(const std::string& path);

// The folder that contains the checkpoint, absolute: RUN of RUN/step-N, even if
// that is a link. A link of another name is followed first.
std::string RunFolderOfCheckpoint(const std::string& step_folder);

// UsageError if `path`, the value of `flag`, is a checkpoint or inside one: it
// would be deleted with it, and not copied.
absl::Status CheckOutsideCheckpoints(const std::string& flag,
                                     const std::string& path);

// Creates and removes a file next to `path`, as an atomic write of `path` does.
// StorageError if that fails, or if `path` exists and is not a regular file.
absl::Status CheckCanBeWritten(const std::string& path);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_ARGUMENTS_OUTPUT_PATHS_H_
