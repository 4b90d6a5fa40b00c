#include "base/number_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lextra {
namespace {

TEST(NumberText, HasOneWordForEveryNaN) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {nan, std::copysign(nan, -1.0)}) {
    EXPECT_EQ(NonFiniteText(value), "nan");
    EXPECT_EQ(CompactNumber(9, value), "nan");
    EXPECT_EQ(FixedPoint(4, value), "-");
  }
  EXPECT_EQ(CompactNumber(9, -infinity), "-inf");
  EXPECT_EQ(FixedPoint(4, infinity), "inf");
  EXPECT_EQ(FixedPoint(4, -infinity), "-inf");
  EXPECT_EQ(CompactNumber(3, 0.00012345), "0.000123");
  EXPECT_EQ(FixedPoint(2, 1.005e3), "1005.00");
}

}  // namespace
}  // namespace lextra
