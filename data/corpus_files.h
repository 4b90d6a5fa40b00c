// The files of a corpus: which of the inputs are read, and how many are skipped
// for what reason.
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
  // Extensions of files in folders (".py", ...; case-insensitive, an additional
  // .gz is fine); empty for all.
  std::vector<std::string> extensions;
  // Prefixes of token data sets about to be written: their files are not read.
  std::vector<std::string> outputs;
  TextFormat format = TextFormat::kAuto;
  bool skip_other_formats = false;  // else they are an error
  // Called for each file: an error ends the search.
  std::function<absl::Status()> check = [] { return absl::OkStatus(); };
};

// Numbers of skipped files, or of folders where named so.
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
// Links to folders are followed. A duplicate file or folder counts once, at its
// first position. InputErrors: an input that does not exist, a folder without
// files, no readable file at all, and the first file of an unsupported format,
// detected by its first bytes (the reader reports what it finds later).
absl::StatusOr<CorpusFiles> ListCorpus(const std::vector<std::string>& inputs,
                                       const CorpusOptions& options);

// "3 files of other extensions, 1 broken link"; empty if nothing was skipped.
std::string SkippedText(const SkippedFiles& skipped);

}  // namespace lextra

#endif  // LEXTRA_DATA_CORPUS_FILES_H_
