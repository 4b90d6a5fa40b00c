// The ids of stored tokens, many at a time.
#ifndef LEXTRA_DATA_TOKEN_IDS_H_
#define LEXTRA_DATA_TOKEN_IDS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "data/token_file_format.h"

namespace lextra {

// 0 for a code that is not a TokenType's.
int64_t ItemBytes(uint8_t code);
const char* NameOf(TokenType type);  // "uint16"
// The largest vocabulary that the type can represent.
int64_t MaxVocabulary(TokenType type);

// For no tokens smallest > largest.
struct TokenIdRange {
  int64_t smallest = INT64_MAX;
  int64_t largest = INT64_MIN;

  void Include(const TokenIdRange& other) {
    smallest = std::min(smallest, other.smallest);
    largest = std::max(largest, other.largest);
  }
  bool IsWithin(int64_t vocab_size) const {
    return smallest > largest || (smallest >= 0 && largest < vocab_size);
  }
};

// Of whole tokens at any alignment. Runs at memory speed, so that code that
// reads a whole data set for another reason can check it in passing.
TokenIdRange RangeOfTokenIds(TokenType type, std::span<const std::byte> bytes);

}  // namespace lextra

#endif  // LEXTRA_DATA_TOKEN_IDS_H_
