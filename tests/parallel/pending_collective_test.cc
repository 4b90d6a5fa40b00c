#include <gtest/gtest.h>

#include <stdexcept>

#include "parallel/communicator.h"

namespace lextra {
namespace {

class CountedState : public PendingCollective::State {
 public:
  explicit CountedState(int* waits) : waits_(waits) {}
  void Wait() override { ++*waits_; }

 private:
  int* waits_;
};

PendingCollective Pending(int* waits) {
  return PendingCollective(std::make_unique<CountedState>(waits));
}

TEST(PendingCollective, WaitsOnceWhereverItWasMoved) {
  int waits = 0;
  PendingCollective first = Pending(&waits);
  PendingCollective second = std::move(first);
  first.Wait();
  EXPECT_EQ(waits, 0);
  second.Wait();
  second.Wait();
  EXPECT_EQ(waits, 1);
}

TEST(PendingCollectiveDeathTest, EndsTheProcessWhenItIsDroppedBeforeWait) {
  int waits = 0;
  EXPECT_EXIT({ PendingCollective dropped = Pending(&waits); },
              ::testing::ExitedWithCode(6), "dropped before Wait");
}

TEST(PendingCollectiveDeathTest, EndsTheProcessWhenItIsOverwrittenBeforeWait) {
  int waits = 0;
  EXPECT_EXIT(
      {
        PendingCollective pending = Pending(&waits);
        pending = PendingCollective();
      },
      ::testing::ExitedWithCode(6), "dropped before Wait");
}

TEST(PendingCollective, LetsAnExceptionPass) {
  int waits = 0;
  EXPECT_THROW(
      {
        PendingCollective pending = Pending(&waits);
        throw std::runtime_error("out of memory");
      },
      std::runtime_error);
}

}  // namespace
}  // namespace lextra
