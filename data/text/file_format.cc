#include "data/text/file_format.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "data/text/json_line.h"
#include "data/text/utf8.h"

namespace lextra {
namespace {

using Kind = FileFormat::Kind;
using std::string_view_literals::operator""sv;

struct Signature {
  std::string_view bytes;
  const char* name;
  const char* remedy;
  size_t offset = 0;
  bool is_text = false;  // text may begin so, too
};

constexpr size_t kControlsHeadBytes = 1024;

constexpr std::string_view kGzipMagic = "\x1F\x8B";
constexpr char kFromUtf16[] = "convert it: `iconv -f UTF-16 -t UTF-8 FILE`";
constexpr char kFromUtf32[] = "convert it: `iconv -f UTF-32 -t UTF-8 FILE`";
constexpr char kUnpack[] = "unpack it and pass the files in it";

// Of two with a common prefix the longer comes first.
constexpr Signature kSignatures[] = {
    {kGzipMagic, "gzip data", "unpack it once: `gzip -d FILE`"},
    {"\x28\xB5\x2F\xFD"sv, "zstd data", "unpack it: `zstd -d FILE`"},
    {"\xFD\x37zXZ\0"sv, "xz data", "unpack it: `xz -dk FILE`"},
    {"BZh"sv, "bzip2 data", "unpack it: `bzip2 -dk FILE`", 0, true},
    {"\x04\x22\x4D\x18"sv, "lz4 data", "unpack it: `lz4 -d FILE`"},
    {"PK\x03\x04"sv, "zip data", kUnpack},
    {"PK\x05\x06"sv, "zip data", kUnpack},
    {"7z\xBC\xAF\x27\x1C"sv, "7z data", kUnpack},
    {"ustar"sv, "tar data", kUnpack, 257, true},
    {"PAR1"sv, "Parquet data", "write its rows as JSON lines", 0, true},
    {"ARROW1"sv, "Arrow data", "write its rows as JSON lines", 0, true},
    {"%PDF-"sv, "PDF data", "extract its text: `pdftotext FILE`"},
    {"\xFF\xFE\0\0"sv, "UTF-32 text", kFromUtf32},
    {"\0\0\xFE\xFF"sv, "UTF-32 text", kFromUtf32},
    {"\xFF\xFE"sv, "UTF-16 text", kFromUtf16},
    {"\xFE\xFF"sv, "UTF-16 text", kFromUtf16},
};

FileFormat Other(std::string name, std::string remedy) {
  return {Kind::kOther, std::move(name), std::move(remedy)};
}

// Whether the first bytes have many control characters that no text has.
bool HasManyOddControls(std::string_view text) {
  text = text.substr(0, kControlsHeadBytes);
  int64_t count = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    count += byte < 0x20 && !(byte >= '\b' && byte <= '\r') && byte != 0x1B;
  }
  return 10 * count > std::ssize(text);
}

// kOther, with the reason, if it is not text. A few bytes that are not UTF-8
// may be errors in a text; a tenth of them is another encoding, or not text at
// all.
FileFormat TextOrBinary(std::string_view head) {
  const int64_t bytes = std::ssize(head);
  if (head.find('\0') != head.npos || HasManyOddControls(head)) {
    return BinaryFormat();
  }
  if (10 * InvalidUtf8Bytes(head) > bytes) {
    return Other("text that is not UTF-8",
                 "convert it: `iconv -f ENCODING -t UTF-8 FILE`, or read it as "
                 "bytes with --format=text");
  }
  return {};
}

bool Matches(const Signature& signature, std::string_view head) {
  return head.size() > signature.offset &&
         head.substr(signature.offset).starts_with(signature.bytes) &&
         !(signature.is_text && TextOrBinary(head).kind == Kind::kText);
}

// The first line that is not blank, and whether its end is there.
struct FirstLine {
  std::string_view text;
  bool is_whole = false;
};

FirstLine FirstLineOf(std::string_view head, bool is_whole) {
  if (head.starts_with(kUtf8ByteOrderMark)) {
    head.remove_prefix(kUtf8ByteOrderMark.size());
  }
  const size_t begin = head.find_first_not_of(" \t\r\n");
  if (begin == head.npos) return {"", is_whole};
  head.remove_prefix(begin);
  const size_t end = head.find('\n');
  if (end == head.npos) return {head, is_whole};
  return {head.substr(0, end), true};
}

bool EndsWithBrace(std::string_view line) {
  const size_t last = line.find_last_not_of(" \t\r");
  return last != line.npos && line[last] == '}';
}

// A file whose name says JSON.
FileFormat JsonFormat(const FirstLine& line) {
  const bool is_document = line.text.starts_with('[') ||
                           (line.text.starts_with('{') && line.is_whole &&
                            !EndsWithBrace(line.text));
  if (!is_document) return {Kind::kJsonLines, "", ""};
  return Other("one JSON document",
               line.text.starts_with('[')
                   ? "write one object per line: `jq -c '.[]' FILE`, or read "
                     "it as plain text with --format=text"
                   : "write one object per line: `jq -c . FILE`, or read it "
                     "as plain text with --format=text");
}

// Any other file: lines of JSON are not text, whatever the file's name.
bool BeginsWithAnObject(const FirstLine& line) {
  if (!line.text.starts_with('{')) return false;
  if (!line.is_whole) return line.text.starts_with("{\"");
  return ParseJsonLine(line.text, "").has_keys;
}

}  // namespace

FileFormat BinaryFormat() {
  return Other("binary data",
               "omit it, or read it as bytes with --format=text");
}

bool IsGzip(std::string_view head) { return head.starts_with(kGzipMagic); }

bool EndsWith(std::string_view name, std::string_view ending) {
  return absl::EndsWithIgnoreCase({name.data(), name.size()},
                                  {ending.data(), ending.size()});
}

std::string_view WithoutGzipEnding(std::string_view name) {
  if (EndsWith(name, ".gz")) name.remove_suffix(3);
  return name;
}

FileFormat FormatOf(std::string_view name, std::string_view head,
                    bool is_whole) {
  for (const Signature& signature : kSignatures) {
    if (!Matches(signature, head)) continue;
    return Other(signature.name, signature.remedy);
  }
  if (const FileFormat text = TextOrBinary(head); text.kind == Kind::kOther) {
    return text;
  }
  name = WithoutGzipEnding(name);
  const FirstLine line = FirstLineOf(head, is_whole);
  if (EndsWith(name, ".jsonl") || EndsWith(name, ".ndjson") ||
      (!EndsWith(name, ".json") && BeginsWithAnObject(line))) {
    return {Kind::kJsonLines, "", ""};
  }
  return EndsWith(name, ".json") ? JsonFormat(line) : FileFormat();
}

absl::Status RefusedFormat(const std::string& path, const FileFormat& format) {
  return InputError(
      absl::StrCat(path, ": unsupported format: ", format.name, "; ",
                   absl::StrReplaceAll(format.remedy, {{"FILE", path}})));
}

}  // namespace lextra
