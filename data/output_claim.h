// One process at a time writes the files of a prefix. The claim also owns the
// temporary files that it writes first, hidden files in the same folder:
//
//   FOLDER/.NAME.<id>.claim   locked as long as the writer lives
//   FOLDER/.NAME.<id>.bin     ... a temporary file per suffix
//
// The id is random, so that equal process ids on several hosts or in several
// containers don't collide. The system drops the lock of a process that dies: a
// claim that can be locked is abandoned, and the next claim of the prefix
// removes it with its temporary files, and nothing else.
#ifndef LEXTRA_DATA_OUTPUT_CLAIM_H_
#define LEXTRA_DATA_OUTPUT_CLAIM_H_

#include <memory>
#include <string>
#include <utility>

#include "base/status.h"

namespace lextra {

class OutputClaim {
 public:
  // Creates the folder of `prefix`. RunFolderHeldError names the process that
  // already has the prefix; of two that start simultaneously, both may be
  // refused. StorageError if nothing can be written.
  static absl::StatusOr<std::unique_ptr<OutputClaim>> Acquire(
      const std::string& prefix);

  OutputClaim(const OutputClaim&) = delete;
  ~OutputClaim();  // removes what is left of the temporary files

  // Of the file PREFIX<suffix>, one of kTokenFileSuffixes.
  std::string TemporaryName(const char* suffix) const;

 private:
  OutputClaim(std::string stem, int descriptor)
      : stem_(std::move(stem)), descriptor_(descriptor) {}

  std::string stem_;  // FOLDER/.NAME.<id>
  int descriptor_;    // holds the lock
};

}  // namespace lextra

#endif  // LEXTRA_DATA_OUTPUT_CLAIM_H_
