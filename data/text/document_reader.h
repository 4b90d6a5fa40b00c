// Reads documents from files according to their format (file_format.h): text is
// one document or one per paragraph, JSON lines are one per line; gzip data is
// decompressed.
#ifndef LEXTRA_DATA_TEXT_DOCUMENT_READER_H_
#define LEXTRA_DATA_TEXT_DOCUMENT_READER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "data/text/file_format.h"
#include "data/text/input_stream.h"

namespace lextra {

struct ReadOptions {
  TextFormat format = TextFormat::kAuto;
  std::string text_key = "text";   // of a JSON line's object
  bool split_blank_lines = false;  // else a text file is one document
  // Skip and count lines that are not a JSON object with a text, and files of
  // other formats, instead of an error.
  bool skip_bad_lines = false;
  bool skip_other_formats = false;
  // Of a document, and of a JSON line; parsing needs a few times as much
  // memory.
  size_t max_document_bytes = size_t{1} << 30;
};

// What was read so far.
struct ReadCounts {
  int64_t text_files = 0;
  int64_t json_files = 0;
  int64_t gzip_files = 0;        // of those two
  int64_t byte_order_marks = 0;  // files that began with one; it is removed
  int64_t bad_lines = 0;         // skipped
  std::vector<std::string> first_bad_lines;      // FILE:LINE: why; a few
  std::map<std::string, int64_t> other_formats;  // skipped files, by format
};

class DocumentReader {
 public:
  // The text is valid during the call. An error ends the reading.
  using Visitor = absl::FunctionRef<absl::Status(std::string_view text)>;

  explicit DocumentReader(ReadOptions options) : options_(std::move(options)) {}

  // Visits the documents of a file in order. InputErrors name file and line
  // and, for an unsupported format, what to do.
  absl::Status Read(const std::string& path, Visitor visit);

  const ReadCounts& counts() const { return counts_; }
  // Read from disk so far, as stored there (compressed, if gzip data).
  int64_t stored_bytes() const { return stored_bytes_; }

 private:
  class Lines;
  // The part of a newly opened file that is in the buffer.
  struct Head {
    size_t bytes = 0;
    bool is_whole = false;  // no more follows
  };

  absl::StatusOr<Head> ReadHead(InputStream& stream);
  FileFormat Format(const std::string& path, const InputStream& stream,
                    const Head& head) const;
  absl::Status LeaveOut(const std::string& path, const FileFormat& format);
  void Count(bool is_json, const InputStream& stream);
  absl::Status ReadWhole(const std::string& path, const Head& head,
                         InputStream& stream, Visitor visit);
  absl::Status ReadParagraphs(Lines& lines, Visitor visit);
  absl::Status ReadJsonLines(Lines& lines, Visitor visit);
  absl::Status BadLine(const Lines& lines, const std::string& problem);
  bool IsBinary(std::string_view text) const;
  std::string_view WithoutByteOrderMark(std::string_view text);

  ReadOptions options_;
  std::string buffer_;  // of the file being read; kept for the next
  ReadCounts counts_;
  int64_t stored_bytes_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_DOCUMENT_READER_H_
