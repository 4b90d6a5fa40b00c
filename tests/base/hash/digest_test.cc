#include "base/hash/digest.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace lextra {
namespace {

// Published by the reference implementation for the empty input, seed 0.
TEST(Digest, IsXxh3Of128Bits) {
  EXPECT_EQ(DigestOf(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(Digest().Hex(), DigestOf(""));
}

TEST(Digest, DoesNotDependOnHowBytesAreCut) {
  std::string bytes(100'000, '\0');
  std::iota(bytes.begin(), bytes.end(), 0);
  for (const size_t part : {1, 63, 240, 4096, 99'999}) {
    Digest digest;
    for (size_t begin = 0; begin < bytes.size(); begin += part) {
      digest.Add(std::string_view(bytes).substr(begin, part));
    }
    EXPECT_EQ(digest.Hex(), DigestOf(bytes)) << part;
  }
}

TEST(Digest, SeesEveryByte) {
  const std::string bytes(2000, 'x');
  for (size_t i = 0; i < bytes.size(); i += 37) {
    std::string changed = bytes;
    changed[i] ^= 1;
    EXPECT_NE(DigestOf(changed), DigestOf(bytes)) << i;
  }
  EXPECT_NE(DigestOf(bytes + '\0'), DigestOf(bytes));
}

}  // namespace
}  // namespace lextra
