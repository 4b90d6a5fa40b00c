// Confidence interval of a proportion.
#ifndef LEXTRA_BASE_WILSON_INTERVAL_H_
#define LEXTRA_BASE_WILSON_INTERVAL_H_

#include <cstdint>

namespace lextra {

// The 95 % confidence interval of a proportion with `correct` of `trials`
// independent trials, at least 1 (Wilson 1927, "Probable inference", section
// 2).
struct Interval {
  double low = 0;
  double high = 1;
};
Interval WilsonInterval(int64_t correct, int64_t trials);

}  // namespace lextra

#endif  // LEXTRA_BASE_WILSON_INTERVAL_H_
