#include "data/text/utf8.h"

#include <cstddef>
#include <cstring>

namespace lextra {
namespace {

constexpr size_t kLongestSequence = 4;

// The length of the ASCII text that `text` begins with, up to a word less.
size_t AsciiWords(std::string_view text) {
  size_t done = 0;
  for (uint64_t word = 0; done + sizeof(word) <= text.size();
       done += sizeof(word)) {
    std::memcpy(&word, text.data() + done, sizeof(word));
    if ((word & 0x8080808080808080) != 0) break;
  }
  return done;
}

// Bytes of the sequence that `text` (not empty) begins with; 0 if it is not
// well-formed.
size_t SequenceBytes(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < bytes) return 0;
  // The range of the second byte excludes overlong forms, surrogates and code
  // points beyond U+10FFFF.
  const auto second = static_cast<uint8_t>(text[1]);
  const uint8_t lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (second < lowest || second > highest) return 0;
  for (size_t i = 2; i < bytes; ++i) {
    if ((text[i] & 0xC0) != 0x80) return 0;
  }
  return bytes;
}

}  // namespace

int64_t InvalidUtf8Bytes(std::string_view text) {
  int64_t invalid = 0;
  while (true) {
    text.remove_prefix(AsciiWords(text));
    // A word that is not all ASCII, or the rest.
    for (size_t i = 0; i < sizeof(uint64_t) && !text.empty(); ++i) {
      const size_t bytes = SequenceBytes(text);
      if (bytes == 0 && text.size() < kLongestSequence &&
          (text[0] & 0xC0) == 0xC0) {
        return invalid;
      }
      invalid += bytes == 0;
      text.remove_prefix(bytes == 0 ? 1 : bytes);
    }
    if (text.empty()) return invalid;
  }
}

}  // namespace lextra
