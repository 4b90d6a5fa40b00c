#include "base/wilson_interval.h"

#include <gtest/gtest.h>

namespace lextra {
namespace {

TEST(WilsonInterval, HasKnownValues) {
  EXPECT_NEAR(WilsonInterval(8, 10).low, 0.4902, 1e-4);
  EXPECT_NEAR(WilsonInterval(8, 10).high, 0.9433, 1e-4);
  EXPECT_EQ(WilsonInterval(0, 20).low, 0);
  EXPECT_NEAR(WilsonInterval(0, 20).high, 0.1611, 1e-4);
  EXPECT_NEAR(WilsonInterval(20, 20).low, 0.8389, 1e-4);
  EXPECT_EQ(WilsonInterval(20, 20).high, 1);
}

}  // namespace
}  // namespace lextra
