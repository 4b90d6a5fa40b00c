// The tokenizer `byte`: ids 0..255 are the bytes themselves, 256 closes a
// document. Lossless on every input, whatever its encoding; no file.
#ifndef LEXTRA_DATA_BYTE_TOKENIZER_H_
#define LEXTRA_DATA_BYTE_TOKENIZER_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace lextra {

class ByteTokenizer {
 public:
  static constexpr std::string_view kName = "byte";
  static constexpr int64_t kEosId = 256;
  static constexpr int64_t kVocabSize = 257;

  // Replaces `ids` by those of `text`, without eos.
  void Encode(std::string_view text, std::vector<int32_t>* ids) const;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_BYTE_TOKENIZER_H_
