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

TEST(RanksText, NamesRunsOfRanks) {
  EXPECT_EQ(RanksText({3}), "rank 3");
  EXPECT_EQ(RanksText({0, 1}), "ranks 0-1");
  EXPECT_EQ(RanksText({0, 2, 3, 4, 9}), "ranks 0, 2-4, 9");
}

TEST(DifferenceOverRanks, IsEmptyWhereAllAreAlike) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  EXPECT_EQ(DifferenceOverRanks(*world, "a\0b"s), "");
  EXPECT_EQ(DifferenceOverRanks(*world, ""), "");
}

TEST(DifferenceOverRanks, TellsAllRanksWhoHasWhatWhateverItsLength) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  if (world->size() == 1) return;
  const int last = world->size() - 1;
  const std::string mine =
      world->rank() == last ? std::string(100'000, 'y') : "x";
  const std::string difference = DifferenceOverRanks(*world, mine);
  const std::string of_others =
      last == 1 ? "rank 0" : "ranks 0-" + std::to_string(last - 1);
  EXPECT_EQ(difference.find("x on " + of_others + " (host "), 0u)
      << difference.substr(0, 100);
  EXPECT_NE(difference.find("y on rank " + std::to_string(last) + " (host "),
            std::string::npos);
  EXPECT_EQ(GatherTexts(*world, difference)[0], difference);
}

TEST(MakeOncePerKey, MakesOnceForRanksOfTheSameKeyAndRankZeroFirst) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const int pair = world->rank() / 2;
  int calls = 0;
  const absl::StatusOr<std::string> text = MakeOncePerKey(
      *world, std::to_string(pair), [&]() -> absl::StatusOr<std::string> {
        ++calls;
        return "made by " + std::to_string(world->rank());
      });
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "made by " + std::to_string(2 * pair));
  EXPECT_EQ(calls, world->rank() % 2 == 0 ? 1 : 0);
}

TEST(MakeOncePerKey, TellsAllRanksAnErrorOfOne) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  const int last = world->size() - 1;
  const absl::StatusOr<std::string> text =
      MakeOncePerKey(*world, std::to_string(world->rank()),
                     [&]() -> absl::StatusOr<std::string> {
                       if (world->rank() == last) return InputError("gone");
                       return "text";
                     });
  EXPECT_EQ(ExitCodeOf(text.status()), ExitCode::kInput);
  EXPECT_NE(text.status().message().find("gone"), std::string::npos);
}

}  // namespace
}  // namespace lextra
