// Numbers as text, with the same words for non-finite ones everywhere: printf
// writes "-nan" for some NaNs, and JSON cannot represent any.
#ifndef LEXTRA_BASE_NUMBER_TEXT_H_
#define LEXTRA_BASE_NUMBER_TEXT_H_

#include <string>

namespace lextra {

// "nan", "inf" or "-inf", for a value that is one of these.
std::string NonFiniteText(double value);

// `value`; a NaN without its sign. For a printf.
double WithoutNanSign(double value);

// For programs: `digits` significant digits as in %g, or the words above.
std::string CompactNumber(int digits, double value);

// For people: `digits` digits after the point; "-" for a NaN, which means no
// value; "inf" and "-inf".
std::string FixedPoint(int digits, double value);

}  // namespace lextra

#endif  // LEXTRA_BASE_NUMBER_TEXT_H_
