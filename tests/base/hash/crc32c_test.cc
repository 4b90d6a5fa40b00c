#include "base/hash/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace lextra {
namespace {

using Bytes = std::span<const std::byte>;

Bytes BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<std::byte> RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// A bit at a time, from the polynomial alone.
uint32_t BitwiseCrc32c(Bytes bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
    }
  }
  return ~crc;
}

TEST(Crc32c, GivesThePublishedValues) {
  // "123456789": the catalog's check value; the others: RFC 3720, B.4.
  std::vector<std::byte> counting(32);
  for (size_t i = 0; i < 32; ++i) counting[i] = static_cast<std::byte>(i);
  for (const auto form : {Crc32c, PortableCrc32c}) {
    EXPECT_EQ(form(BytesOf("123456789"), 0), 0xE3069283);
    EXPECT_EQ(form(BytesOf(std::string(32, '\0')), 0), 0x8A9136AA);
    EXPECT_EQ(form(BytesOf(std::string(32, '\xFF')), 0), 0x62A8AB43);
    EXPECT_EQ(form(counting, 0), 0x46DD794E);
    EXPECT_EQ(form({}, 0), 0u);
  }
}

TEST(Crc32c, BothFormsAgreeWithTheDefinitionAtEveryLengthAndAlignment) {
  const std::vector<std::byte> bytes = RandomBytes(600, 1);
  for (size_t size = 0; size <= 560; ++size) {
    for (size_t start = 0; start < 9; ++start) {
      const Bytes part = Bytes(bytes).subspan(start, size);
      const uint32_t expected = BitwiseCrc32c(part);
      ASSERT_EQ(Crc32c(part), expected) << size << " from " << start;
      ASSERT_EQ(PortableCrc32c(part), expected) << size << " from " << start;
    }
  }
}

TEST(Crc32c, BothFormsAgreeOnLongInputs) {
  const std::vector<std::byte> bytes = RandomBytes(1 << 18, 2);
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const size_t start = random() % 5000;
    const size_t size = random() % (i % 2 == 0 ? 20000 : bytes.size() - start);
    const Bytes part = Bytes(bytes).subspan(start, size);
    const auto before = static_cast<uint32_t>(random());
    ASSERT_EQ(Crc32c(part, before), PortableCrc32c(part, before))
        << size << " from " << start;
  }
}

TEST(Crc32c, ContinuesWhereItStopped) {
  const std::vector<std::byte> bytes = RandomBytes(9000, 4);
  for (size_t cut : {0, 1, 7, 8, 95, 96, 97, 4096, 6144, 8999, 9000}) {
    const Bytes first = Bytes(bytes).first(cut);
    const Bytes rest = Bytes(bytes).subspan(cut);
    EXPECT_EQ(Crc32c(rest, Crc32c(first)), Crc32c(bytes)) << cut;
    EXPECT_EQ(PortableCrc32c(rest, PortableCrc32c(first)), Crc32c(bytes))
        << cut;
  }
}

TEST(Crc32c, SeesEachFlippedBit) {
  std::vector<std::byte> bytes = RandomBytes(300, 5);
  const uint32_t before = Crc32c(bytes);
  for (std::byte& byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      byte ^= std::byte{1} << bit;
      EXPECT_NE(Crc32c(bytes), before);
      byte ^= std::byte{1} << bit;
    }
  }
}

TEST(CombineCrc32c, EqualsTheChecksumOfBothParts) {
  const std::vector<std::byte> bytes = RandomBytes(70000, 6);
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    const Bytes whole = Bytes(bytes).first(random() % bytes.size());
    const size_t cut = random() % (whole.size() + 1);
    const Bytes a = whole.first(cut);
    const Bytes b = whole.subspan(cut);
    ASSERT_EQ(CombineCrc32c(Crc32c(a), Crc32c(b), b.size()), Crc32c(whole))
        << cut << " of " << whole.size();
  }
}

TEST(CombineCrc32c, TakesEmptyParts) {
  const uint32_t crc = Crc32c(BytesOf("abc"));
  EXPECT_EQ(CombineCrc32c(crc, Crc32c({}), 0), crc);
  EXPECT_EQ(CombineCrc32c(Crc32c({}), crc, 3), crc);
  EXPECT_EQ(CombineCrc32c(Crc32c({}), Crc32c({}), 0), 0u);
}

TEST(CombineCrc32c, TakesPartsBeyondFourGibibytes) {
  // 2^40 zeros by doubling: their checksum needs no memory.
  uint32_t zeros = Crc32c(BytesOf(std::string(1, '\0')));
  for (int power = 0; power < 40; ++power) {
    zeros = CombineCrc32c(zeros, zeros, int64_t{1} << power);
  }
  // In two unequal parts: 2^40 = (2^40 - 3) + 3.
  uint32_t part = 0;
  for (int power = 39; power >= 0; --power) {
    uint32_t piece = Crc32c(BytesOf(std::string(1, '\0')));
    for (int i = 0; i < power; ++i) {
      piece = CombineCrc32c(piece, piece, int64_t{1} << i);
    }
    if (power != 1) part = CombineCrc32c(part, piece, int64_t{1} << power);
  }
  EXPECT_EQ(CombineCrc32c(part, Crc32c(BytesOf(std::string(3, '\0'))), 3),
            zeros);
}

}  // namespace
}  // namespace lextra
