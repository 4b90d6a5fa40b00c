// Validation of UTF-8.
#ifndef LEXTRA_DATA_TEXT_UTF8_H_
#define LEXTRA_DATA_TEXT_UTF8_H_

#include <cstdint>
#include <string_view>

namespace lextra {

constexpr std::string_view kUtf8ByteOrderMark = "\xEF\xBB\xBF";

// How many bytes belong to no well-formed sequence (RFC 3629). A sequence that
// the end of the text may have cut off counts as well-formed.
int64_t InvalidUtf8Bytes(std::string_view text);

}  // namespace lextra

#endif  // LEXTRA_DATA_TEXT_UTF8_H_
