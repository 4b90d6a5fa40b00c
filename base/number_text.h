// Numbers as text. What is not finite reads the same everywhere: printf writes
// "-nan" for some NaNs, and JSON has no word for any of them.
#ifndef LEXTRA_BASE_NUMBER_TEXT_H_
#define LEXTRA_BASE_NUMBER_TEXT_H_

#include <string>

namespace lextra {

// "nan", "inf" or "-inf", for a value that is one of these.
std::string NonFiniteText(double value);

// `value`; a NaN without its sign. For a printf.
double WithoutNanSign(double value);

// For programs: `digits` significant ones as %g has them, or the words above.
std::string CompactNumber(int digits, double value);

// For people: so many digits behind the point; "-" for a NaN, which is a number
// that there is none of, "inf" and "-inf".
std::string FixedPoint(int digits, double value);

}  // namespace lextra

#endif  // LEXTRA_BASE_NUMBER_TEXT_H_
