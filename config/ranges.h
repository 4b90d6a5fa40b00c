// The range of each numeric field, independent of other fields.
#ifndef LEXTRA_CONFIG_RANGES_H_
#define LEXTRA_CONFIG_RANGES_H_

#include <limits>
#include <span>
#include <string>

namespace lextra {

inline constexpr double kNoBound = std::numeric_limits<double>::max();

struct Range {
  const char* field;
  double min;
  double max = kNoBound;
  bool open = false;  // min and max themselves are not allowed

  bool Holds(double value) const;  // false for a NaN
  // "at least 0 and at most 1".
  std::string Text() const;
};

// Ranges for every run, and those that only training has.
std::span<const Range> Ranges();
std::span<const Range> TrainingRanges();

}  // namespace lextra

#endif  // LEXTRA_CONFIG_RANGES_H_
