#include "data/samples/permutation.h"

#include <algorithm>
#include <bit>

#include "base/seeds.h"

namespace lextra {
namespace {

// Four suffice for large halves; small ones mix more slowly.
constexpr int kRounds = 8;

}  // namespace

Permutation::Permutation(uint64_t key, int64_t size)
    : key_(key), size_(static_cast<uint64_t>(size)) {
  const int bits = std::bit_width(size_ - 1);  // of the largest value
  half_bits_ = std::max(1, (bits + 1) / 2);
}

uint64_t Permutation::Encipher(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t mixed = MixBits(MixBits(key_ + round) ^ right) & mask;
    const uint64_t next = left ^ mixed;
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

int64_t Permutation::operator()(int64_t place) const {
  uint64_t value = static_cast<uint64_t>(place);
  do {
    value = Encipher(value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

}  // namespace lextra
