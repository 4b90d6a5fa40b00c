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
  // Approximate. At 0 and 1 the files of the other split are not touched.
  double validation_fraction = 0.1;
  int64_t min_document_bytes = 0;  // shorter ones are skipped
  // Polled regularly; once true, ends as Preempted.
  std::function<bool()> stop_requested = [] { return false; };
};

// The point of [0, 1) to which a document's text hashes. It depends only on the
// text: renaming or adding files moves no other document between the splits,
// and copies of a text are always in the same split.
double SplitPoint(std::string_view text);

// Writes both data sets completely or, on an error, neither. Logs progress.
// Errors: those of ListCorpus, DocumentReader and TokenFileWriter.
absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options);

}  // namespace lextra

#endif  // LEXTRA_DATA_PREPARE_H_
