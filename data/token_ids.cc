#include "data/token_ids.h"

#include <limits>

#include "base/vector_clones.h"

namespace lextra {
namespace {

// Tokens may begin at any byte.
template <typename Stored>
struct __attribute__((packed)) Unaligned {
  Stored id;
};

template <typename Stored>
LEXTRA_ALWAYS_INLINE TokenIdRange RangeOf(const std::byte* bytes,
                                          int64_t count) {
  const auto* tokens = reinterpret_cast<const Unaligned<Stored>*>(bytes);
  Stored smallest = std::numeric_limits<Stored>::max();
  Stored largest = std::numeric_limits<Stored>::min();
#pragma omp simd reduction(min : smallest) reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) {
    const Stored id = tokens[i].id;
    smallest = id < smallest ? id : smallest;
    largest = id > largest ? id : largest;
  }
  return {smallest, largest};
}

// Not a template: clang clones none.
LEXTRA_VECTOR_CLONES TokenIdRange RangeOfType(TokenType type,
                                              const std::byte* bytes,
                                              int64_t count) {
  switch (type) {
    case TokenType::kUint8:
      return RangeOf<uint8_t>(bytes, count);
    case TokenType::kInt8:
      return RangeOf<int8_t>(bytes, count);
    case TokenType::kInt16:
      return RangeOf<int16_t>(bytes, count);
    case TokenType::kInt32:
      return RangeOf<int32_t>(bytes, count);
    case TokenType::kInt64:
      return RangeOf<int64_t>(bytes, count);
    case TokenType::kUint16:
      return RangeOf<uint16_t>(bytes, count);
  }
  return {};
}

}  // namespace

int64_t ItemBytes(uint8_t code) {
  switch (static_cast<TokenType>(code)) {
    case TokenType::kUint8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUint16:
      return 2;
    case TokenType::kInt32:
      return 4;
    case TokenType::kInt64:
      return 8;
  }
  return 0;
}

const char* NameOf(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return "uint8";
    case TokenType::kInt8:
      return "int8";
    case TokenType::kInt16:
      return "int16";
    case TokenType::kInt32:
      return "int32";
    case TokenType::kInt64:
      return "int64";
    case TokenType::kUint16:
      return "uint16";
  }
  return "unknown";
}

int64_t MaxVocabulary(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return 1 << 8;
    case TokenType::kInt8:
      return 1 << 7;
    case TokenType::kInt16:
      return 1 << 15;
    case TokenType::kUint16:
      return 1 << 16;
    case TokenType::kInt32:
      return int64_t{1} << 31;
    case TokenType::kInt64:
      return INT64_MAX;
  }
  return 0;
}

TokenIdRange RangeOfTokenIds(TokenType type, std::span<const std::byte> bytes) {
  const int64_t count = static_cast<int64_t>(bytes.size()) /
                        ItemBytes(static_cast<uint8_t>(type));
  if (count == 0) return {};
  return RangeOfType(type, bytes.data(), count);
}

}  // namespace lextra
