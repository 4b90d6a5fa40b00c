// Text to token data sets: reads documents, splits them into training and
// validation, writes both.
#ifndef LEXTRA_DATA_PREPARE_H_
#define LEXTRA_DATA_PREPARE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "data/byte_tokenizer.h"
#include "data/prepare_summary.h"
#include "data/text/document_reader.h"
#include "data/tokenizer.h"

namespace lextra {

struct PrepareOptions {
  std::vector<std::string> inputs;      // files and folders
  std::vector<std::string> extensions;  // CorpusOptions
  ReadOptions read;
  std::shared_ptr<const Tokenizer> tokenizer =
      std::make_shared<ByteTokenizer>();
  std::string output;  // prefix of OUTPUT-train.* and OUTPUT-validation.*
  // Of the documents, about. At 0 and 1 the other side's files are not touched.
  double validation_fraction = 0.1;
  int64_t min_document_bytes = 0;  // shorter ones are left out
  // Asked again and again; once it says true, all ends as Preempted.
  std::function<bool()> stop_requested = [] { return false; };
};

// The share of [0, 1) that a document's text falls on. It depends on nothing
// but the text: renamed or added files move no other document between the
// splits, and copies of a text are never on both sides.
double SplitPoint(std::string_view text);

// Writes both data sets whole or, on an error, neither. Shows progress where
// the terminal welcomes it. Errors: those of ListCorpus, DocumentReader and
// TokenFileWriter.
absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options);

}  // namespace lextra

#endif  // LEXTRA_DATA_PREPARE_H_
