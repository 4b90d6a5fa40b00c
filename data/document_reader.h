// Documents out of files. What a file holds follows from its name: .jsonl is
// one JSON object a line, anything else is text; a further .gz is unpacked.
#ifndef LEXTRA_DATA_DOCUMENT_READER_H_
#define LEXTRA_DATA_DOCUMENT_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status.h"

namespace lextra {

// The files that `inputs` name: files as given; folders recursively, in sorted
// order, without hidden entries (.git) and, if `extensions` (".py", ...) are
// given, without names that end otherwise (a further .gz is fine). An input
// that does not exist and a folder without any such file are InputErrors.
absl::StatusOr<std::vector<std::string>> ListInputFiles(
    const std::vector<std::string>& inputs,
    const std::vector<std::string>& extensions);

struct ReadOptions {
  std::string text_key = "text";   // of a JSONL object
  bool split_blank_lines = false;  // else a text file is one document
  // Of a document, and of a line of JSONL; parsing holds a few times as much.
  size_t max_document_bytes = size_t{1} << 30;
};

class DocumentReader {
 public:
  // The text is valid during the call. An error ends the reading.
  using Visitor = absl::FunctionRef<absl::Status(std::string_view text)>;

  explicit DocumentReader(ReadOptions options) : options_(std::move(options)) {}

  // Visits the documents of a file in order. InputErrors name file and line.
  absl::Status Read(const std::string& path, Visitor visit);

  // Files that began with a UTF-8 byte order mark, which is dropped.
  int64_t num_byte_order_marks() const { return num_byte_order_marks_; }
  // Read from the disk so far, as stored there (packed, if .gz).
  int64_t stored_bytes() const { return stored_bytes_; }

 private:
  class Lines;

  absl::Status ReadWhole(const std::string& path, Visitor visit);
  absl::Status ReadParagraphs(Lines& lines, Visitor visit);
  absl::Status ReadJsonLines(Lines& lines, Visitor visit);
  std::string_view WithoutByteOrderMark(std::string_view text);

  ReadOptions options_;
  std::string buffer_;  // of the file being read; kept for the next
  int64_t num_byte_order_marks_ = 0;
  int64_t stored_bytes_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_DOCUMENT_READER_H_
