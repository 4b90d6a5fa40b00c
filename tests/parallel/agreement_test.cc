#include "parallel/agreement.h"

#include <gtest/gtest.h>

#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using namespace std::string_literals;

TEST(AgreeOnStatus, IsOkWhereAllRanksAre) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  EXPECT_TRUE(AgreeOnStatus(*world, absl::OkStatus()).ok());
}

TEST(AgreeOnStatus, TellsAllRanksTheErrorOfTheLowestRankThatHasOne) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const int lowest = world->size() / 2;
  const absl::Status mine =
      world->rank() < lowest
          ? absl::OkStatus()
          : StorageError("disk of " + std::to_string(world->rank()));
  const absl::Status agreed = AgreeOnStatus(*world, mine);
  EXPECT_EQ(ExitCodeOf(agreed), ExitCode::kStorage);
  const std::string disk = "disk of " + std::to_string(lowest);
  EXPECT_EQ(agreed.message(),
            world->size() == 1
                ? disk
                : "rank " + std::to_string(lowest) + ": " + disk);
}

TEST(BroadcastText, GivesTheRootsBytesWithZerosToAll) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  for (int root = 0; root < world->size(); ++root) {
    const std::string text = root == world->rank() ? "a\0b"s : "other text";
    EXPECT_EQ(BroadcastText(*world, text, root), "a\0b"s);
  }
  EXPECT_EQ(BroadcastText(*world, "", 0), "");
}

TEST(GatherTexts, KeepsRankOrderAndLengths) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const std::vector<std::string> texts =
      GatherTexts(*world, std::string(world->rank(), 'x'));
  ASSERT_EQ(texts.size(), static_cast<size_t>(world->size()));
  for (int rank = 0; rank < world->size(); ++rank) {
    EXPECT_EQ(texts[rank], std::string(rank, 'x'));
  }
}

TEST(LoadOnRankZero, LoadsOnceAndTellsAll) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  int loads = 0;
  const absl::StatusOr<std::string> text =
      LoadOnRankZero(*world, [&]() -> absl::StatusOr<std::string> {
        ++loads;
        return "text";
      });
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "text");
  EXPECT_EQ(loads, world->rank() == 0 ? 1 : 0);
}

TEST(LoadOnRankZero, GivesTheErrorToAll) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const absl::StatusOr<std::string> text = LoadOnRankZero(
      *world, []() -> absl::StatusOr<std::string> { return InputError("no"); });
  EXPECT_EQ(ExitCodeOf(text.status()), ExitCode::kInput);
}

}  // namespace
}  // namespace lextra
