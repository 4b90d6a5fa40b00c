#include "base/number_text.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"

namespace lextra {

std::string NonFiniteText(double value) {
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

double WithoutNanSign(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

std::string CompactNumber(int digits, double value) {
  return std::isfinite(value) ? absl::StrFormat("%.*g", digits, value)
                              : NonFiniteText(value);
}

std::string FixedPoint(int digits, double value) {
  if (std::isnan(value)) return "-";
  return std::isfinite(value) ? absl::StrFormat("%.*f", digits, value)
                              : NonFiniteText(value);
}

}  // namespace lextra
