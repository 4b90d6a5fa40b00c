// The files of a corpus: which of what was named are read, and how many are
// left out for what reason.
#ifndef LEXTRA_DATA_CORPUS_FILES_H_
#define LEXTRA_DATA_CORPUS_FILES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/text/file_format.h"

namespace lextra {

struct CorpusOptions {
  // Of files in folders (".py", ...; in any case, a further .gz is fine); empty
  // for all.
  std::vector<std::string> extensions;
  // Prefixes of token data sets about to be written: their files are no input.
  std::vector<std::string> outputs;
  TextFormat format = TextFormat::kAuto;
  bool skip_other_formats = false;  // else they are an error
  // Asked for each file: an error ends the search.
  std::function<absl::Status()> check = [] { return absl::OkStatus(); };
};

// Files left out, but where folders are named.
struct SkippedFiles {
  int64_t hidden = 0;  // files and folders whose names begin with a dot
  int64_t other_extensions = 0;
  int64_t token_data = 0;  // files of token data sets (token_dataset.h)
  int64_t repeated_files = 0;
  int64_t repeated_folders = 0;
  int64_t broken_links = 0;
  int64_t special = 0;                           // pipes, sockets, devices
  std::map<std::string, int64_t> other_formats;  // by FileFormat::name
};

struct CorpusFiles {
  std::vector<std::string> paths;
  int64_t stored_bytes = 0;  // of all
  SkippedFiles skipped;
};

// Files as given; folders recursively, in sorted order, without hidden entries.
// Links to folders are followed. A file or folder that is reached twice counts
// once, in the first place. InputErrors: an input that does not exist, a folder
// without files, nothing to read in all of them, and the first file of another
// format, told by its first bytes (what a reader finds further on is its own
// error).
absl::StatusOr<CorpusFiles> ListCorpus(const std::vector<std::string>& inputs,
                                       const CorpusOptions& options);

// "3 files of other extensions, 1 broken link"; empty if nothing was skipped.
std::string SkippedText(const SkippedFiles& skipped);

}  // namespace lextra

#endif  // LEXTRA_DATA_CORPUS_FILES_H_
