#include "parallel/activity/in_flight_calls.h"

#include <gtest/gtest.h>

namespace lextra {
namespace {

class FixedGroup : public AbortableGroup {
 public:
  std::optional<DeviceCall> OldestCall() override { return oldest; }
  std::optional<std::string> Error() override { return error; }
  void Abort() override { ++num_aborts; }

  std::optional<DeviceCall> oldest;
  std::optional<std::string> error;
  int num_aborts = 0;
};

TEST(InFlightCalls, TellTheCallThatHasBeenNextForLongest) {
  InFlightCalls groups;
  EXPECT_FALSE(groups.OldestCall());
  FixedGroup idle, young, old;
  for (FixedGroup* group : {&idle, &young, &old}) groups.Add(group);
  EXPECT_FALSE(groups.OldestCall());
  young.oldest = {GroupCall(), 1, 2.0};
  old.oldest = {GroupCall(), 2, 3.0};
  EXPECT_EQ(groups.OldestCall()->number, 2u);
  groups.Remove(&old);
  EXPECT_EQ(groups.OldestCall()->number, 1u);
}

class FixedWork : public DeviceWork {
 public:
  uint64_t NumDone() override { return 7; }
};

TEST(InFlightCalls, TellTheWorkThatIsDone) {
  InFlightCalls groups;
  EXPECT_EQ(groups.NumWorkDone(), 0u);
  FixedWork work;
  groups.SetWork(&work);
  EXPECT_EQ(groups.NumWorkDone(), 7u);
  groups.SetWork(nullptr);
  EXPECT_EQ(groups.NumWorkDone(), 0u);
}

TEST(InFlightCalls, TellAnErrorOfAnyAndAbortAll) {
  InFlightCalls groups;
  FixedGroup first, second, gone;
  for (FixedGroup* group : {&first, &second, &gone}) groups.Add(group);
  groups.Remove(&gone);
  EXPECT_FALSE(groups.Error());
  second.error = "lost";
  EXPECT_EQ(*groups.Error(), "lost");
  groups.AbortAll();
  EXPECT_EQ(first.num_aborts, 1);
  EXPECT_EQ(second.num_aborts, 1);
  EXPECT_EQ(gone.num_aborts, 0);
}

TEST(CallText, NamesOperationNumberAxisAndBytes) {
  EXPECT_EQ(
      CallText(
          {.operation = Operation::kReduceScatter, .sequence = 7, .bytes = 400},
          "data"),
      "ReduceScatter 7 on axis data (400 bytes)");
}

}  // namespace
}  // namespace lextra
