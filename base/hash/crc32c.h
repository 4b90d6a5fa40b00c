// CRC-32C (Castagnoli polynomial, reflected 0x82F63B78; RFC 3720, appendix
// B.4): the checksum of checkpoint blocks. Uses the processor's instruction
// where there is one, a table otherwise.
#ifndef LEXTRA_BASE_HASH_CRC32C_H_
#define LEXTRA_BASE_HASH_CRC32C_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace lextra {

// The checksum of the bytes that `crc` covers followed by `bytes`.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

// The checksum of A followed by B from those of A and B, without their bytes.
uint32_t CombineCrc32c(uint32_t crc_a, uint32_t crc_b, int64_t bytes_b);

// The table-based implementation, on any processor.
uint32_t PortableCrc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace lextra

#endif  // LEXTRA_BASE_HASH_CRC32C_H_
