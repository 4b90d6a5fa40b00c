// A keyed permutation of [0, size), computed element by element: memory does
// not depend on the size.
#ifndef LEXTRA_DATA_SAMPLES_PERMUTATION_H_
#define LEXTRA_DATA_SAMPLES_PERMUTATION_H_

#include <cstdint>

namespace lextra {

// A Feistel network (Luby and Rackoff 1988) over the even number of bits that
// holds `size`; a value that falls outside [0, size) goes through again until
// it falls inside (cycle walking; Black and Rogaway 2002). The network's range
// is below 4 * size, so that takes less than 4 rounds on average.
class Permutation {
 public:
  Permutation(uint64_t key, int64_t size);  // size >= 1

  int64_t operator()(int64_t place) const;

 private:
  uint64_t Encipher(uint64_t value) const;

  uint64_t key_;
  uint64_t size_;
  int half_bits_;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_SAMPLES_PERMUTATION_H_
