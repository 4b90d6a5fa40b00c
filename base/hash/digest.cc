#include "base/hash/digest.h"

// The header alone: no library is linked.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/str_format.h"

namespace lextra {

struct Digest::State {
  XXH3_state_t state;
};

Digest::Digest() : state_(std::make_unique<State>()) {
  XXH3_INITSTATE(&state_->state);
  XXH3_128bits_reset(&state_->state);
}

Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;
Digest::~Digest() = default;

void Digest::Add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(&state_->state, bytes.data(), bytes.size());
}

void Digest::Add(std::string_view bytes) {
  Add(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

std::string Digest::Hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->state);
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

std::string DigestOf(std::string_view bytes) {
  Digest digest;
  digest.Add(bytes);
  return digest.Hex();
}

}  // namespace lextra
