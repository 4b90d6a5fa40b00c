#include "launch/instruction_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::HasSubstr;

constexpr InstructionSet kBaseline = InstructionSet::kBaseline;
constexpr InstructionSet kAvx2 = InstructionSet::kAvx2;
constexpr InstructionSet kAvx512 = InstructionSet::kAvx512;

TEST(CommonInstructionSets, IsTheLeastOfAnyRank) {
  const auto common = CommonInstructionSets(
      {{kAvx512, kAvx512, kAvx512}, {kAvx512, kBaseline, kAvx2}});
  ASSERT_TRUE(common.ok()) << common.status();
  EXPECT_EQ(common->machine, kAvx512);
  EXPECT_EQ(common->products, kBaseline);
  EXPECT_EQ(common->libtorch, kAvx2);
}

TEST(CommonInstructionSets, RefusesWhatARanksMachineDoesNotRun) {
  for (const RankInstructionSets& beyond :
       {RankInstructionSets{kAvx2, kAvx512, kAvx2},
        RankInstructionSets{kAvx2, kAvx2, kAvx512}}) {
    const absl::Status status =
        CommonInstructionSets({{kAvx512, kAvx512, kAvx512}, beyond}).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: "));
    EXPECT_THAT(
        std::string(status.message()),
        HasSubstr("requests avx512, but its host supports at most avx2"));
  }
}

}  // namespace
}  // namespace lextra
