#include "base/hash/crc32c.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/work_counter.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lextra {
namespace {

// Polynomials over GF(2) modulo P, in the checksum's reflected bit order: bit
// 31 is the coefficient of 1, bit 0 that of x^31.
constexpr uint32_t kPolynomial = 0x82F63B78;
constexpr uint32_t kOne = uint32_t{1} << 31;

constexpr uint32_t TimesX(uint32_t a) {
  return (a >> 1) ^ ((a & 1) != 0 ? kPolynomial : 0);
}

constexpr uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = TimesX(b);
  }
  return product;
}

constexpr uint32_t PowerOfX(uint64_t exponent) {
  uint32_t power = kOne;
  uint32_t square = TimesX(kOne);
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power = Multiply(power, square);
    square = Multiply(square, square);
  }
  return power;
}

// kByteTables[k][b]: what byte b becomes once k more bytes have followed it.
using ByteTables = std::array<std::array<uint32_t, 256>, 8>;
constexpr ByteTables kByteTables = [] {
  ByteTables tables = {};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = TimesX(crc);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}();

// The next 8 bytes, the first one lowest, on a processor of either byte order.
uint64_t LoadWord(const std::byte* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

// Sliced by 8: the eight look-ups of a word do not wait for each other.
uint32_t TableRegister(std::span<const std::byte> bytes, uint32_t crc) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const uint64_t word = LoadWord(bytes.data()) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) {
      crc ^= kByteTables[7 - i][(word >> (8 * i)) & 0xFF];
    }
  }
  for (const std::byte byte : bytes) {
    crc =
        (crc >> 8) ^ kByteTables[0][(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  }
  return crc;
}

#if defined(__x86_64__)

// Lanes are of 2^n words. The longest, 32 KiB, lets the processor read ahead in
// each: with lanes of 2 KiB, bytes that come from memory take twice as long.
// Below the shortest, joining costs more than it saves.
constexpr int kMaxLaneLog = 12;
constexpr int kMinLaneLog = 2;

// kWordsLater[n]: x^(64 * 2^n - 33) mod P, the factor that moves a checksum
// past 2^n words. The 33 are made up for by Shift's last step.
constexpr std::array<uint32_t, kMaxLaneLog + 2> kWordsLater = [] {
  std::array<uint32_t, kMaxLaneLog + 2> factors = {};
  for (size_t n = 0; n < factors.size(); ++n) {
    factors[n] = PowerOfX((uint64_t{64} << n) - 33);
  }
  return factors;
}();

// The register after 2^n words of zeros. The product of two reflected 32-bit
// polynomials, read as a reflected 64-bit one, is x times too large, and the
// instruction that reduces it multiplies by x^32.
__attribute__((target("sse4.2,pclmul"))) uint32_t Shift(uint32_t crc, int n) {
  const __m128i product = _mm_clmulepi64_si128(
      _mm_cvtsi32_si128(static_cast<int>(crc)),
      _mm_cvtsi32_si128(static_cast<int>(kWordsLater[n])), 0);
  return static_cast<uint32_t>(
      _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product))));
}

// The instruction takes three cycles but starts each cycle: three lanes that do
// not wait for each other keep it busy.
__attribute__((target("sse4.2,pclmul"))) uint32_t HardwareRegister(
    std::span<const std::byte> bytes, uint32_t crc) {
  for (int n = kMaxLaneLog; n >= kMinLaneLog;) {
    const size_t words = size_t{1} << n;
    if (bytes.size() < 3 * 8 * words) {
      --n;
      continue;
    }
    const std::byte* const lane0 = bytes.data();
    const std::byte* const lane1 = lane0 + 8 * words;
    const std::byte* const lane2 = lane1 + 8 * words;
    uint64_t crc0 = crc;
    uint64_t crc1 = 0;
    uint64_t crc2 = 0;
    for (size_t i = 0; i < 8 * words; i += 8) {
      crc0 = _mm_crc32_u64(crc0, LoadWord(lane0 + i));
      crc1 = _mm_crc32_u64(crc1, LoadWord(lane1 + i));
      crc2 = _mm_crc32_u64(crc2, LoadWord(lane2 + i));
    }
    crc = Shift(static_cast<uint32_t>(crc0), n + 1) ^
          Shift(static_cast<uint32_t>(crc1), n) ^ static_cast<uint32_t>(crc2);
    bytes = bytes.subspan(3 * 8 * words);
  }
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    crc = static_cast<uint32_t>(_mm_crc32_u64(crc, LoadWord(bytes.data())));
  }
  for (const std::byte byte : bytes) {
    crc = _mm_crc32_u8(crc, static_cast<uint8_t>(byte));
  }
  return crc;
}

bool HasInstructions() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#endif  // __x86_64__

// Bytes per unit of work (base/work_counter.h), since a mapped file may be long
// and its disk slow. A multiple of the longest lanes.
constexpr size_t kPartBytes = size_t{3} << 20;

uint32_t OfPart(std::span<const std::byte> bytes, uint32_t crc) {
#if defined(__x86_64__)
  if (HasInstructions()) return ~HardwareRegister(bytes, ~crc);
#endif
  return PortableCrc32c(bytes, crc);
}

}  // namespace

uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t crc) {
  while (!bytes.empty()) {
    const std::span<const std::byte> part =
        bytes.first(std::min(bytes.size(), kPartBytes));
    crc = OfPart(part, crc);
    bytes = bytes.subspan(part.size());
    CountWork();
  }
  return crc;
}

uint32_t PortableCrc32c(std::span<const std::byte> bytes, uint32_t crc) {
  return ~TableRegister(bytes, ~crc);
}

uint32_t CombineCrc32c(uint32_t crc_a, uint32_t crc_b, int64_t bytes_b) {
  // The checksum is affine in the bytes: B's bytes only shift A's checksum, and
  // the inversions at start and end cancel.
  return Multiply(PowerOfX(8 * static_cast<uint64_t>(bytes_b)), crc_a) ^ crc_b;
}

}  // namespace lextra
