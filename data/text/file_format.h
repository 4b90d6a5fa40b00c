// The format of a file, detected by its content. Of the name, only an extension
// of JSON (.jsonl, .ndjson, .json) is taken into account.
#ifndef LEXTRA_DATA_TEXT_FILE_FORMAT_H_
#define LEXTRA_DATA_TEXT_FILE_FORMAT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace lextra {

// How files are read.
enum class TextFormat {
  kAuto,       // by their content; neither of these is an error
  kText,       // as text, whatever they contain
  kJsonLines,  // as one JSON object per line
};

struct FileFormat {
  enum class Kind { kText, kJsonLines, kOther };

  Kind kind = Kind::kText;
  // Of kOther, which is unsupported:
  std::string name;    // "zstd data"
  std::string remedy;  // what to do with it, with FILE for its path
};

// The part of a file that determines its format.
constexpr size_t kFormatHeadBytes = size_t{1} << 16;

// Whether it begins like gzip data.
bool IsGzip(std::string_view head);

// The name without a final ".gz", case-insensitive.
std::string_view WithoutGzipEnding(std::string_view name);

// Whether `name` ends with `ending`, case-insensitive.
bool EndsWith(std::string_view name, std::string_view ending);

// The format of a file that begins with `head`, or is just that (`is_whole`).
// Gzip data must be decompressed first.
FileFormat FormatOf(std::string_view name, std::string_view head,
                    bool is_whole);

// The format of a file with a NUL byte.
FileFormat BinaryFormat();

// The InputError of a file of kind kOther.
absl::Status RefusedFormat(const std::string& path, const FileFormat& format);

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_FILE_FORMAT_H_
