// A fast 128-bit digest (XXH3) of data of any size. Not cryptographic: it
// distinguishes data without an adversary; sha256.h is for the rest.
#ifndef LEXTRA_BASE_HASH_DIGEST_H_
#define LEXTRA_BASE_HASH_DIGEST_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lextra {

class Digest {
 public:
  static constexpr size_t kHexDigits = 32;

  Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  ~Digest();

  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view bytes);

  // Hexadecimal digits, lower case, of all bytes added so far.
  std::string Hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string DigestOf(std::string_view bytes);

}  // namespace lextra

#endif  // LEXTRA_BASE_HASH_DIGEST_H_
