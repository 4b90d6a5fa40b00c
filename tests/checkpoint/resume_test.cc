#include "checkpoint/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "checkpoint/files/step_folders.h"
#include "checkpoint/load_tensors.h"
#include "parallel/agreement.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ParseResumeMode, KnowsThreeWordsAndSteps) {
  EXPECT_EQ(ParseResumeMode("auto")->kind, ResumeMode::kAuto);
  EXPECT_EQ(ParseResumeMode("must")->kind, ResumeMode::kMust);
  EXPECT_EQ(ParseResumeMode("none")->kind, ResumeMode::kNone);
  EXPECT_EQ(ParseResumeMode("400")->kind, ResumeMode::kStep);
  EXPECT_EQ(ParseResumeMode("400")->step, 400);
  for (const char* text : {"", "-1", "newest", "4.5"}) {
    EXPECT_EQ(ExitCodeOf(ParseResumeMode(text).status()), ExitCode::kUsage)
        << text;
  }
}

// A run folder with checkpoints of steps 1 and 2, which hold nothing.
class LoadNewestValidTest : public ::testing::Test {
 protected:
  LoadNewestValidTest() : world_(testing::Session().World()) {
    if (world_->rank() == 0) folder_.emplace();
    run_folder_ =
        BroadcastText(*world_, folder_ ? folder_->path() + "/run" : "", 0);
    if (world_->rank() == 0) {
      for (const int64_t step : {1, 2}) {
        TrainingState state;
        state.set_step(step);
        EXPECT_TRUE(
            SaveWholeTensors(run_folder_, {}, state, {{"w", at::zeros({2})}})
                .ok());
      }
    }
    world_->Barrier();
  }
  ~LoadNewestValidTest() override { world_->Barrier(); }

  // The steps that were tried; `status_of` says what loading one gives.
  absl::StatusOr<std::string> Load(
      ResumeMode mode, const std::function<absl::Status(int64_t)>& status_of) {
    return LoadNewestValid(*world_, run_folder_, mode,
                           [&](const std::string&, const Manifest& manifest) {
                             tried_.push_back(manifest.state().step());
                             return status_of(tried_.back());
                           });
  }

  std::unique_ptr<Communicator> world_;
  std::optional<testing::TemporaryFolder> folder_;
  std::string run_folder_;
  std::vector<int64_t> tried_;
};

TEST_F(LoadNewestValidTest, TakesTheNewest) {
  const auto loaded = Load({}, [](int64_t) { return absl::OkStatus(); });
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(StepOf(*loaded), 2);
  EXPECT_THAT(tried_, ElementsAre(2));
}

TEST_F(LoadNewestValidTest, TriesTheNextOlderOnlyAfterDamage) {
  const auto loaded = Load({}, [](int64_t step) {
    return step == 2 ? DamagedError("a wrong checksum") : absl::OkStatus();
  });
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(StepOf(*loaded), 1);
  EXPECT_THAT(tried_, ElementsAre(2, 1));
  EXPECT_FALSE(std::filesystem::exists(run_folder_ + "/step-00000002"))
      << "it is set aside";
}

TEST_F(LoadNewestValidTest, AnotherErrorEndsTheSearch) {
  const auto loaded = Load(
      {}, [](int64_t) { return CheckpointError("another configuration"); });
  EXPECT_THAT(std::string(loaded.status().message()),
              HasSubstr("another configuration"));
  EXPECT_THAT(tried_, ElementsAre(2));
  EXPECT_TRUE(std::filesystem::exists(run_folder_ + "/step-00000002"));
}

TEST_F(LoadNewestValidTest, NoneRefusesAFolderThatHasOne) {
  const auto loaded = Load({.kind = ResumeMode::kNone},
                           [](int64_t) { return absl::OkStatus(); });
  EXPECT_FALSE(loaded.ok());
  EXPECT_TRUE(tried_.empty());
}

TEST_F(LoadNewestValidTest, AStepSetsNewerOnesAside) {
  const auto loaded = Load({.kind = ResumeMode::kStep, .step = 1},
                           [](int64_t) { return absl::OkStatus(); });
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(StepOf(*loaded), 1);
  EXPECT_FALSE(std::filesystem::exists(run_folder_ + "/step-00000002"));
}

}  // namespace
}  // namespace lextra
