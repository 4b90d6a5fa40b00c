#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/host.h"
#include "base/json_number.h"
#include "base/math.h"

namespace lextra {
namespace {

TEST(JsonNumber, IsReadBackWhateverItIs) {
  for (const double value : {0.0, -1.5, std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(NumberOfJson(nlohmann::json(JsonNumber(value))), value);
  }
  EXPECT_EQ(JsonNumber(std::nan("")), "nan");
  EXPECT_TRUE(std::isnan(*NumberOfJson(nlohmann::json("nan"))));
  EXPECT_EQ(NumberOfJson(nlohmann::json("none")), std::nullopt);
  EXPECT_EQ(NumberOfJson(nlohmann::json::array()), std::nullopt);
}

TEST(Math, RoundsUp) {
  EXPECT_EQ(CeilDivide(0, 4), 0);
  EXPECT_EQ(CeilDivide(1, 4), 1);
  EXPECT_EQ(CeilDivide(8, 4), 2);
  EXPECT_EQ(RoundUp(9, 4), 12);
}

TEST(UtcTime, IsAsFilesWantIt) {
  const std::string time = UtcTime();
  ASSERT_EQ(time.size(), std::string("2026-01-02T03:04:05Z").size());
  EXPECT_EQ(time[10], 'T');
  EXPECT_EQ(time.back(), 'Z');
  EXPECT_EQ(UtcTimeForNames().find_first_not_of("0123456789T."),
            std::string::npos);
}

TEST(HostName, IsNotEmpty) { EXPECT_FALSE(HostName().empty()); }

}  // namespace
}  // namespace lextra
