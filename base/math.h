// Integer arithmetic.
#ifndef LEXTRA_BASE_MATH_H_
#define LEXTRA_BASE_MATH_H_

#include <cstdint>

namespace lextra {

// a / b rounded up, and a rounded up to a multiple of b; a >= 0, b > 0.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t RoundUp(int64_t a, int64_t b) { return CeilDivide(a, b) * b; }

}  // namespace lextra

#endif  // LEXTRA_BASE_MATH_H_
