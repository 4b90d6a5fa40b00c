// Seeds that depend on what they are for (a parameter's name, an epoch's
// number), never on the rank: every layout draws the same numbers.
#ifndef LEXTRA_BASE_SEEDS_H_
#define LEXTRA_BASE_SEEDS_H_

#include <cstdint>
#include <string_view>

namespace lextra {

// A well mixed 64-bit value (the finalizer of SplitMix64; Steele et al. 2014).
uint64_t MixBits(uint64_t value);

// The seed of the stream `name` under the run's `seed`.
uint64_t SeedFor(uint64_t seed, std::string_view name);

}  // namespace lextra

#endif  // LEXTRA_BASE_SEEDS_H_
