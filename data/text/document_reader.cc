#include "data/text/document_reader.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/text/json_line.h"
#include "data/text/utf8.h"

namespace lextra {
namespace {

constexpr size_t kMaxBadLinesShown = 3;

// One byte more than the maximum, to detect what is too long.
size_t FirstBufferBytes(size_t max_bytes) {
  return std::min(size_t{1} << 20, max_bytes + 1);
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Files named so: an invalid line is an error, not another format.
bool IsNamedJson(std::string_view path) {
  path = WithoutGzipEnding(path);
  return EndsWith(path, ".jsonl") || EndsWith(path, ".ndjson");
}

}  // namespace

// The lines of a stream, each with its '\n'; the last may lack one. The buffer
// holds the stream's first bytes, `head_bytes`.
class DocumentReader::Lines {
 public:
  Lines(std::string path, size_t max_bytes, InputStream* stream,
        std::string* buffer, size_t head_bytes)
      : path_(std::move(path)),
        max_bytes_(max_bytes),
        stream_(stream),
        buffer_(buffer),
        end_(head_bytes) {}

  // False at the end. `line` is valid until the next call.
  absl::StatusOr<bool> Next(std::string_view* line) {
    size_t searched = begin_;
    while (true) {
      const void* newline =
          std::memchr(buffer_->data() + searched, '\n', end_ - searched);
      if (newline != nullptr) {
        const size_t next =
            static_cast<const char*>(newline) - buffer_->data() + 1;
        return Take(next, line);
      }
      searched = end_ - begin_;
      LEXTRA_RETURN_IF_ERROR(MakeRoom());
      LEXTRA_ASSIGN_OR_RETURN(const size_t got,
                              stream_->Read(std::span(*buffer_).subspan(end_)));
      end_ += got;
      if (got == 0) {
        if (begin_ == end_) return false;
        return Take(end_, line);
      }
    }
  }
  int64_t number() const { return number_; }  // of the last line, from 1
  const std::string& path() const { return path_; }

  // An InputError about the last line.
  absl::Status Error(const std::string& problem) const {
    return InputError(absl::StrCat(path_, ":", number_, ": ", problem));
  }

 private:
  absl::StatusOr<bool> Take(size_t next, std::string_view* line) {
    if (next - begin_ > max_bytes_) return TooLong();
    *line = std::string_view(*buffer_).substr(begin_, next - begin_);
    begin_ = next;
    ++number_;
    return true;
  }

  absl::Status TooLong() {
    ++number_;
    return Error(absl::StrFormat("line is longer than %d bytes", max_bytes_));
  }

  // Moves the partial line to the buffer's front and doubles a full buffer.
  absl::Status MakeRoom() {
    std::memmove(buffer_->data(), buffer_->data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ < buffer_->size()) return absl::OkStatus();
    if (end_ > max_bytes_) return TooLong();
    buffer_->resize(std::min(2 * buffer_->size(), max_bytes_ + 1));
    return absl::OkStatus();
  }

  std::string path_;
  size_t max_bytes_;
  InputStream* stream_;
  std::string* buffer_;
  size_t begin_ = 0;
  size_t end_;
  int64_t number_ = 0;
};

absl::Status DocumentReader::Read(const std::string& path, Visitor visit) {
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<InputStream> stream,
                          InputStream::Open(path, &stored_bytes_));
  LEXTRA_ASSIGN_OR_RETURN(const Head head, ReadHead(*stream));
  const FileFormat format = Format(path, *stream, head);
  if (format.kind == FileFormat::Kind::kOther) return LeaveOut(path, format);
  const bool is_json = format.kind == FileFormat::Kind::kJsonLines;
  if (!is_json && !options_.split_blank_lines) {
    return ReadWhole(path, head, *stream, visit);
  }
  Count(is_json, *stream);
  Lines lines(path, options_.max_document_bytes, stream.get(), &buffer_,
              head.bytes);
  if (is_json) return ReadJsonLines(lines, visit);
  return ReadParagraphs(lines, visit);
}

absl::StatusOr<DocumentReader::Head> DocumentReader::ReadHead(
    InputStream& stream) {
  if (buffer_.empty()) {
    buffer_.resize(FirstBufferBytes(options_.max_document_bytes));
  }
  Head head;
  while (head.bytes < std::min(kFormatHeadBytes, buffer_.size())) {
    LEXTRA_ASSIGN_OR_RETURN(
        const size_t got, stream.Read(std::span(buffer_).subspan(head.bytes)));
    head.bytes += got;
    head.is_whole = got == 0;
    if (head.is_whole) break;
  }
  return head;
}

FileFormat DocumentReader::Format(const std::string& path,
                                  const InputStream& stream,
                                  const Head& head) const {
  if (options_.format == TextFormat::kText) return {};
  if (options_.format == TextFormat::kJsonLines) {
    return {FileFormat::Kind::kJsonLines, "", ""};
  }
  FileFormat format = FormatOf(path,
                               std::string_view(buffer_).substr(
                                   0, std::min(head.bytes, kFormatHeadBytes)),
                               head.is_whole && head.bytes <= kFormatHeadBytes);
  if (format.kind == FileFormat::Kind::kOther && stream.is_packed()) {
    format.name += " inside gzip";
  }
  return format;
}

absl::Status DocumentReader::LeaveOut(const std::string& path,
                                      const FileFormat& format) {
  if (!options_.skip_other_formats) return RefusedFormat(path, format);
  ++counts_.other_formats[format.name];
  return absl::OkStatus();
}

void DocumentReader::Count(bool is_json, const InputStream& stream) {
  ++(is_json ? counts_.json_files : counts_.text_files);
  if (stream.is_packed()) ++counts_.gzip_files;
}

absl::Status DocumentReader::ReadWhole(const std::string& path,
                                       const Head& head, InputStream& stream,
                                       Visitor visit) {
  size_t size = head.bytes;
  bool at_end = head.is_whole;
  while (!at_end && size <= options_.max_document_bytes) {
    if (size == buffer_.size()) {
      buffer_.resize(std::min(2 * size, options_.max_document_bytes + 1));
    }
    LEXTRA_ASSIGN_OR_RETURN(const size_t got,
                            stream.Read(std::span(buffer_).subspan(size)));
    at_end = got == 0;
    size += got;
  }
  if (size > options_.max_document_bytes) {
    return InputError(absl::StrFormat(
        "%s: longer than %d bytes, the maximum for one document; split the "
        "file, or use --split_blank_lines",
        path, options_.max_document_bytes));
  }
  const std::string_view text = std::string_view(buffer_).substr(0, size);
  if (IsBinary(text)) return LeaveOut(path, BinaryFormat());
  Count(/*is_json=*/false, stream);
  return visit(WithoutByteOrderMark(text));
}

absl::Status DocumentReader::ReadParagraphs(Lines& lines, Visitor visit) {
  std::string document;
  std::string_view line;
  while (true) {
    LEXTRA_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (more && lines.number() == 1) line = WithoutByteOrderMark(line);
    if (more && !IsBlank(line)) {
      document += line;
      if (document.size() <= options_.max_document_bytes) continue;
      return lines.Error(
          absl::StrFormat("document ending here is longer than %d bytes",
                          options_.max_document_bytes));
    }
    if (IsBinary(document)) {
      return lines.Error("NUL byte before this line: binary data, not text; " +
                         BinaryFormat().remedy);
    }
    if (!document.empty()) LEXTRA_RETURN_IF_ERROR(visit(document));
    document.clear();
    if (!more) return absl::OkStatus();
  }
}

absl::Status DocumentReader::ReadJsonLines(Lines& lines, Visitor visit) {
  std::string_view line;
  while (true) {
    LEXTRA_ASSIGN_OR_RETURN(const bool more, lines.Next(&line));
    if (!more) return absl::OkStatus();
    if (lines.number() == 1) line = WithoutByteOrderMark(line);
    if (IsBlank(line)) continue;
    const JsonLine json = ParseJsonLine(line, options_.text_key);
    if (json.problem.empty()) {
      LEXTRA_RETURN_IF_ERROR(visit(json.text));
    } else {
      LEXTRA_RETURN_IF_ERROR(BadLine(lines, json.problem));
    }
  }
}

absl::Status DocumentReader::BadLine(const Lines& lines,
                                     const std::string& problem) {
  if (!options_.skip_bad_lines) {
    return lines.Error(
        absl::StrCat(problem, "; --skip_bad_lines skips such lines",
                     IsNamedJson(lines.path())
                         ? ""
                         : ", --format=text reads the file as plain text"));
  }
  ++counts_.bad_lines;
  if (counts_.first_bad_lines.size() < kMaxBadLinesShown) {
    counts_.first_bad_lines.emplace_back(lines.Error(problem).message());
  }
  return absl::OkStatus();
}

// Beyond the head, too: text has no NUL bytes.
bool DocumentReader::IsBinary(std::string_view text) const {
  return options_.format == TextFormat::kAuto && !text.empty() &&
         std::memchr(text.data(), '\0', text.size()) != nullptr;
}

std::string_view DocumentReader::WithoutByteOrderMark(std::string_view text) {
  if (!text.starts_with(kUtf8ByteOrderMark)) return text;
  ++counts_.byte_order_marks;
  return text.substr(kUtf8ByteOrderMark.size());
}

}  // namespace lextra
