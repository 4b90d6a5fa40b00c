// Text to token data sets: reads documents, splits them into training and
// validation, writes both.
#ifndef LEXTRA_DATA_PREPARE_H_
#define LEXTRA_DATA_PREPARE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "data/document_reader.h"

namespace lextra {

struct PrepareOptions {
  std::vector<std::string> inputs;      // files and folders
  std::vector<std::string> extensions;  // ListInputFiles
  ReadOptions read;
  std::string output;  // prefix of OUTPUT-train.* and OUTPUT-validation.*
  // Of the documents, about. At 0 and 1 the other side's files are not touched.
  double validation_fraction = 0.1;
  int64_t min_document_bytes = 0;  // shorter ones are left out
};

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
  int64_t files = 0;
  int64_t empty_documents = 0;   // left out
  int64_t short_documents = 0;   // left out
  int64_t binary_documents = 0;  // that hold a NUL byte; kept
  int64_t byte_order_marks = 0;  // dropped
  double seconds = 0;
};

// The share of [0, 1) that a document's text falls on. It depends on nothing
// but the text: renamed or added files move no other document between the
// splits, and copies of a text are never on both sides.
double SplitPoint(std::string_view text);

// Writes both data sets whole or, on an error, neither. Shows progress where
// the terminal welcomes it.
absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options);

// What a person wants to know about the result, in a few lines and a table.
std::string SummaryText(const PrepareSummary& summary);

}  // namespace lextra

#endif  // LEXTRA_DATA_PREPARE_H_
