#include "data/document_reader.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "data/input_stream.h"
#include "nlohmann/json.hpp"

namespace lextra {
namespace {

// One byte more than allowed tells what is too long.
size_t FirstBufferBytes(size_t max_bytes) {
  return std::min(size_t{1} << 20, max_bytes + 1);
}

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool HasExtension(std::string_view name,
                  const std::vector<std::string>& extensions) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  return std::any_of(extensions.begin(), extensions.end(),
                     [name](const std::string& extension) {
                       return name.ends_with(extension);
                     });
}

absl::Status AppendFolder(const std::string& folder,
                          const std::vector<std::string>& extensions,
                          std::vector<std::string>* files) {
  std::vector<std::string> found;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  const std::filesystem::recursive_directory_iterator end;
  while (!error && entry != end) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (name.starts_with('.')) {
      entry.disable_recursion_pending();
    } else if ((extensions.empty() || HasExtension(name, extensions)) &&
               entry->is_regular_file(ignored)) {
      found.push_back(entry->path().string());
    }
    entry.increment(error);
  }
  if (error) return InputError(absl::StrCat(folder, ": ", error.message()));
  if (found.empty()) {
    return InputError(
        absl::StrCat(folder, ": no file in this folder",
                     extensions.empty() ? "" : " has a name that ends in ",
                     absl::StrJoin(extensions, " or ")));
  }
  std::sort(found.begin(), found.end());
  files->insert(files->end(), found.begin(), found.end());
  return absl::OkStatus();
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Finds the text of one JSONL object without building the rest of it.
class TextFinder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TextFinder(const std::string& key) : wanted_key_(key) {}

  // What is wrong with the line; empty if the text was found.
  std::string Problem() const {
    if (!syntax_problem_.empty()) return syntax_problem_;
    if (!in_object_) return "expected a JSON object, found " + found_instead_;
    if (times_found_ > 1) {
      return absl::StrCat("the key '", wanted_key_, "' stands there twice");
    }
    if (times_found_ == 0) {
      return absl::StrCat(
          "no key '", wanted_key_, "' in this object",
          keys_.empty() ? "" : "; it has " + absl::StrJoin(keys_, ", "),
          " (choose with --text_key)");
    }
    if (!found_instead_.empty()) {
      return absl::StrCat("'", wanted_key_, "' is ", found_instead_,
                          ", expected a string");
    }
    return "";
  }
  const std::string& text() const { return text_; }

  bool null() override { return Other("null"); }
  bool boolean(bool) override { return Other("a boolean"); }
  bool number_integer(int64_t) override { return Other("a number"); }
  bool number_unsigned(uint64_t) override { return Other("a number"); }
  bool number_float(double, const std::string&) override {
    return Other("a number");
  }
  bool binary(binary_t&) override { return Other("binary"); }
  bool string(std::string& value) override {
    if (!AtWantedValue()) return Other("a string");
    text_ = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ == 0) {
      in_object_ = true;
    } else {
      Other("an object");
    }
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    Other("an array");
    ++depth_;
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& name) override {
    if (depth_ != 1) return true;
    at_wanted_key_ = name == wanted_key_;
    if (at_wanted_key_) {
      ++times_found_;
    } else if (keys_.size() < kMaxKeysNamed) {
      keys_.push_back(std::move(name));
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    syntax_problem_ =
        absl::StrCat("not valid JSON at byte ", position, " of the line");
    return false;
  }

 private:
  static constexpr size_t kMaxKeysNamed = 8;

  bool AtWantedValue() const { return depth_ == 1 && at_wanted_key_; }
  bool Other(const char* what) {
    if (depth_ == 0 || AtWantedValue()) found_instead_ = what;
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }

  const std::string& wanted_key_;
  std::string text_;
  std::string syntax_problem_;
  std::string found_instead_;  // of an object, or of a string
  std::vector<std::string> keys_;
  int64_t depth_ = 0;
  int64_t times_found_ = 0;
  bool in_object_ = false;
  bool at_wanted_key_ = false;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> ListInputFiles(
    const std::vector<std::string>& inputs,
    const std::vector<std::string>& extensions) {
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    std::error_code error;
    const std::filesystem::file_status status =
        std::filesystem::status(input, error);
    if (std::filesystem::is_directory(status)) {
      LEXTRA_RETURN_IF_ERROR(AppendFolder(input, extensions, &files));
    } else if (std::filesystem::is_regular_file(status)) {
      files.push_back(input);
    } else {
      return InputError(absl::StrCat(
          input, ": ", error ? error.message() : "not a file or a folder"));
    }
  }
  return files;
}

// The lines of a stream, each with its '\n'; the last may lack one.
class DocumentReader::Lines {
 public:
  Lines(std::string path, size_t max_bytes, InputStream* stream,
        std::string* buffer)
      : path_(std::move(path)),
        max_bytes_(max_bytes),
        stream_(stream),
        buffer_(buffer) {
    if (buffer_->empty()) buffer_->resize(FirstBufferBytes(max_bytes));
  }

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
    return Error(
        absl::StrFormat("the line is longer than %d bytes", max_bytes_));
  }

  // Moves the line begun to the buffer's front and doubles a full buffer.
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
  size_t end_ = 0;
  int64_t number_ = 0;
};

absl::Status DocumentReader::Read(const std::string& path, Visitor visit) {
  const bool is_jsonl = HasExtension(path, {".jsonl"});
  if (!is_jsonl && !options_.split_blank_lines) return ReadWhole(path, visit);
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<InputStream> stream,
                          InputStream::Open(path, &stored_bytes_));
  Lines lines(path, options_.max_document_bytes, stream.get(), &buffer_);
  if (is_jsonl) return ReadJsonLines(lines, visit);
  return ReadParagraphs(lines, visit);
}

absl::Status DocumentReader::ReadWhole(const std::string& path, Visitor visit) {
  LEXTRA_ASSIGN_OR_RETURN(const std::unique_ptr<InputStream> stream,
                          InputStream::Open(path, &stored_bytes_));
  if (buffer_.empty()) {
    buffer_.resize(FirstBufferBytes(options_.max_document_bytes));
  }
  size_t size = 0;
  while (true) {
    if (size == buffer_.size()) {
      buffer_.resize(std::min(2 * size, options_.max_document_bytes + 1));
    }
    LEXTRA_ASSIGN_OR_RETURN(const size_t got,
                            stream->Read(std::span(buffer_).subspan(size)));
    if (got == 0) break;
    size += got;
    if (size > options_.max_document_bytes) {
      return InputError(absl::StrFormat(
          "%s: longer than %d bytes, the most that one document may hold; "
          "split the file, or use --split_blank_lines",
          path, options_.max_document_bytes));
    }
  }
  return visit(WithoutByteOrderMark(std::string_view(buffer_).substr(0, size)));
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
          absl::StrFormat("the document that ends here is longer than %d bytes",
                          options_.max_document_bytes));
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
    TextFinder finder(options_.text_key);
    nlohmann::json::sax_parse(line, &finder);
    if (const std::string problem = finder.Problem(); !problem.empty()) {
      return lines.Error(problem);
    }
    LEXTRA_RETURN_IF_ERROR(visit(finder.text()));
  }
}

std::string_view DocumentReader::WithoutByteOrderMark(std::string_view text) {
  if (!text.starts_with(kByteOrderMark)) return text;
  ++num_byte_order_marks_;
  return text.substr(kByteOrderMark.size());
}

}  // namespace lextra
