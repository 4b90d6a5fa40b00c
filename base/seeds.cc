#include "base/seeds.h"

namespace lextra {

uint64_t MixBits(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

uint64_t SeedFor(uint64_t seed, std::string_view name) {
  uint64_t hash = MixBits(seed);
  for (const char character : name) {
    hash = MixBits(hash ^ static_cast<unsigned char>(character));
  }
  return hash;
}

}  // namespace lextra
