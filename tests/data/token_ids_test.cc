#include "data/token_ids.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace lextra {
namespace {

// Every length up to two vectors, at every start in a word, with the extremes
// of the type at every place.
template <typename Stored>
void ExpectExtremesFound(TokenType type) {
  SCOPED_TRACE(NameOf(type));
  using Limits = std::numeric_limits<Stored>;
  EXPECT_EQ(ItemBytes(static_cast<uint8_t>(type)), int64_t{sizeof(Stored)});
  for (size_t count = 1; count <= 130; count += count < 70 ? 1 : 13) {
    for (size_t start = 0; start < 8; start += 3) {
      std::vector<std::byte> bytes(start + count * sizeof(Stored));
      std::vector<Stored> ids(count, 9);
      const auto range = [&] {
        std::copy_n(reinterpret_cast<const std::byte*>(ids.data()),
                    count * sizeof(Stored), bytes.data() + start);
        return RangeOfTokenIds(type, std::span(bytes).subspan(start));
      };
      for (size_t place = 0; place < count; ++place) {
        ids[place] = Limits::max();
        EXPECT_EQ(range().largest, static_cast<int64_t>(Limits::max()));
        ids[place] = Limits::min();
        EXPECT_EQ(range().smallest, static_cast<int64_t>(Limits::min()));
        ids[place] = 9;
      }
      EXPECT_EQ(range().smallest, 9);
      EXPECT_EQ(range().largest, 9);
    }
  }
}

TEST(RangeOfTokenIds, FindsTheExtremesOfEveryType) {
  ExpectExtremesFound<uint8_t>(TokenType::kUint8);
  ExpectExtremesFound<int8_t>(TokenType::kInt8);
  ExpectExtremesFound<int16_t>(TokenType::kInt16);
  ExpectExtremesFound<uint16_t>(TokenType::kUint16);
  ExpectExtremesFound<int32_t>(TokenType::kInt32);
  ExpectExtremesFound<int64_t>(TokenType::kInt64);
}

TEST(RangeOfTokenIds, OfNoTokensIsWithinAnyVocabulary) {
  TokenIdRange range = RangeOfTokenIds(TokenType::kInt32, {});
  EXPECT_TRUE(range.IsWithin(0));
  range.Include({3, 5});
  EXPECT_TRUE(range.IsWithin(6));
  EXPECT_FALSE(range.IsWithin(5));
  range.Include({-1, 4});
  EXPECT_FALSE(range.IsWithin(6));
}

}  // namespace
}  // namespace lextra
