// x86 makes NaNs with a sign, which a format writes as "-nan".
#ifndef LEXTRA_BASE_NOT_A_NUMBER_H_
#define LEXTRA_BASE_NOT_A_NUMBER_H_

#include <cmath>
#include <limits>

namespace lextra {

// `value`; a NaN without its sign. For whatever is printed.
inline double WithoutNanSign(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace lextra

#endif  // LEXTRA_BASE_NOT_A_NUMBER_H_
