// SHA-256 (FIPS 180-4) of small data: manifests, configurations, tokenizers.
// Tensors use CRC-32C (base/hash/crc32c.h), which is a hundred times as fast.
#ifndef LEXTRA_BASE_HASH_SHA256_H_
#define LEXTRA_BASE_HASH_SHA256_H_

#include <string>
#include <string_view>

namespace lextra {

// 64 hexadecimal digits, lower case.
std::string Sha256(std::string_view bytes);

}  // namespace lextra

#endif  // LEXTRA_BASE_HASH_SHA256_H_
