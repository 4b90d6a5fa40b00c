// The tokenizer `byte`: ids 0..255 are the bytes themselves, 256 ends a
// document. Lossless on every input, whatever its encoding; needs no file.
#ifndef LEXTRA_DATA_BYTE_TOKENIZER_H_
#define LEXTRA_DATA_BYTE_TOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace lextra {

class ByteTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "byte"; }
  std::string sha256() const override { return ""; }
  int64_t vocab_size() const override { return 257; }
  int64_t eos_id() const override { return 256; }
  std::vector<int32_t> bytes_per_token() const override;
  bool ids_are_bytes() const override { return true; }
  absl::Status Encode(std::string_view document, IdSink sink) const override;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_BYTE_TOKENIZER_H_
