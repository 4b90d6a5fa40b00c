// What a file holds, told by its content. Of the name, no more than an ending
// that says JSON (.jsonl, .ndjson, .json) is taken into account.
#ifndef LEXTRA_DATA_TEXT_FILE_FORMAT_H_
#define LEXTRA_DATA_TEXT_FILE_FORMAT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace lextra {

// As what files are read.
enum class TextFormat {
  kAuto,       // as their content says; what is neither is refused
  kText,       // text, whatever is in them
  kJsonLines,  // one JSON object a line
};

struct FileFormat {
  enum class Kind { kText, kJsonLines, kOther };

  Kind kind = Kind::kText;
  // Of kOther, which is not read:
  std::string name;    // "zstd data"
  std::string remedy;  // what to do with it, with FILE for its path
};

// As much of a file as its format is told by.
constexpr size_t kFormatHeadBytes = size_t{1} << 16;

// Whether it begins as gzip data does.
bool IsGzip(std::string_view head);

// The name without a last ".gz", in any case.
std::string_view WithoutGzipEnding(std::string_view name);

// Whether `name` ends with `ending`, in any case.
bool EndsWith(std::string_view name, std::string_view ending);

// The format of a file that begins with `head`, or is no more than that
// (`is_whole`). Gzip data is unpacked before it is asked for.
FileFormat FormatOf(std::string_view name, std::string_view head,
                    bool is_whole);

// That of a file with a NUL byte somewhere.
FileFormat BinaryFormat();

// The InputError of a file of kind kOther.
absl::Status RefusedFormat(const std::string& path, const FileFormat& format);

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_FILE_FORMAT_H_
