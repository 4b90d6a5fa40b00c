// What is refused, and in which words.
#include "parallel/nccl/cuda_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lextra {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Visible = std::vector<std::vector<std::string>>;

GpuHost Fit() {
  return {.cuda_built = 13000,
          .cuda_of_driver = 13010,
          .nccl_built = 22809,
          .nccl_loaded = 22811,
          .gpus = {"a"},
          .error = ""};
}

std::string Refusal(const absl::Status& status) {
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
  return std::string(status.message());
}

TEST(CheckGpuHost, TakesANewerDriverAndAnotherPatchOfNccl) {
  EXPECT_TRUE(CheckGpuHost(Fit()).ok());
}

TEST(CheckGpuHost, RefusesAMissingDriverFirst) {
  GpuHost host = Fit();
  host.cuda_of_driver = 0;
  host.gpus.clear();
  host.error = "CUDA driver version is insufficient for CUDA runtime version";
  EXPECT_THAT(Refusal(CheckGpuHost(host)),
              AllOf(HasSubstr("no NVIDIA driver"), HasSubstr("CUDA 13.0")));
}

TEST(CheckGpuHost, RefusesAnOldDriverAndNamesBothVersions) {
  GpuHost host = Fit();
  host.cuda_of_driver = 12040;
  EXPECT_THAT(
      Refusal(CheckGpuHost(host)),
      AllOf(HasSubstr("too old"), HasSubstr("12.4"), HasSubstr("13.0")));
}

TEST(CheckGpuHost, RefusesAHostWithoutAGpuInCudasWords) {
  GpuHost host = Fit();
  host.gpus.clear();
  host.error = "no CUDA-capable device is detected";
  EXPECT_THAT(Refusal(CheckGpuHost(host)),
              AllOf(HasSubstr("no GPU is visible"), HasSubstr(host.error),
                    HasSubstr("CUDA_VISIBLE_DEVICES"),
                    HasSubstr("parallel.device=CPU")));
}

TEST(CheckGpuHost, RefusesAnotherMinorVersionOfNccl) {
  GpuHost host = Fit();
  host.nccl_loaded = 22703;
  EXPECT_THAT(Refusal(CheckGpuHost(host)),
              AllOf(HasSubstr("2.27"), HasSubstr("2.28")));
}

TEST(ChooseDevices, RanksOfAHostGoByTheirRankThere) {
  const std::vector<std::string> one = {"a", "b"}, two = {"c", "d"};
  EXPECT_THAT(ChooseDevices({one, one, two, two}, false).value(),
              ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(ChooseDevices({one, two, one, two}, false).value(),
              ElementsAre(0, 0, 1, 1));
}

TEST(ChooseDevices, ARankThatWasGivenOneGpuTakesIt) {
  EXPECT_THAT(ChooseDevices({{"a"}, {"b"}, {"c"}}, false).value(),
              ElementsAre(0, 0, 0));
}

TEST(ChooseDevices, MoreRanksThanGpusAreRefusedUnlessTheyMayShare) {
  const Visible visible = {{"a", "b"}, {"a", "b"}, {"a", "b"}};
  EXPECT_THAT(Refusal(ChooseDevices(visible, false).status()),
              AllOf(HasSubstr("rank 2"), HasSubstr("it sees 2"),
                    HasSubstr("LEXTRA_TEST_SHARE_GPU=1")));
  EXPECT_THAT(ChooseDevices(visible, true).value(), ElementsAre(0, 1, 0));
  EXPECT_FALSE(ChooseDevices({{"a"}, {}}, true).ok());
}

}  // namespace
}  // namespace lextra
