// The results of `lextra prepare`, as numbers and as the text that it prints.
#ifndef LEXTRA_DATA_PREPARE_SUMMARY_H_
#define LEXTRA_DATA_PREPARE_SUMMARY_H_

#include <array>
#include <cstdint>
#include <string>

#include "data/corpus_files.h"
#include "data/text/document_reader.h"

namespace lextra {

struct SplitSummary {
  std::string prefix;  // empty: not written
  int64_t documents = 0;
  int64_t tokens = 0;  // with eos
  int64_t bytes = 0;   // of text
  // Documents of [2^i, 2^(i+1)) tokens.
  std::array<int64_t, 64> documents_of_size = {};
};

struct PrepareSummary {
  SplitSummary train;
  SplitSummary validation;
  ReadCounts read;
  SkippedFiles skipped;          // including those that the reader skipped
  int64_t empty_documents = 0;   // skipped
  int64_t short_documents = 0;   // skipped
  int64_t binary_documents = 0;  // with a NUL byte; kept
  int64_t other_encodings = 0;   // not UTF-8 throughout; kept
  double seconds = 0;
};

// "1 file", "2 files".
std::string CountOf(int64_t count, const char* noun);

// The result for people: a few lines and a table.
std::string SummaryText(const PrepareSummary& summary);

}  // namespace lextra

#endif  // LEXTRA_DATA_PREPARE_SUMMARY_H_
