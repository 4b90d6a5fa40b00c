// Progress of a thread: a count of the units of work that it has done, for the
// watchdog (parallel/watchdog/watchdog.h), which can't tell long work from a
// hang by collectives alone. A unit is anything that finishes quickly on any
// machine: a block of a matrix product, a layer, a micro batch, a document, a
// file, some megabytes read or written.
//
// The code that does the work does not know who counts: it calls CountWork(),
// and the owner of the thread sets where its work is counted.
#ifndef LEXTRA_BASE_WORK_COUNTER_H_
#define LEXTRA_BASE_WORK_COUNTER_H_

#include <atomic>
#include <cstdint>

namespace lextra {

// Written by one thread at a time; any thread may read it.
class WorkCounter {
 public:
  void Add() {
    // One writer: no need for a locked instruction.
    count_.store(count_.load(std::memory_order_relaxed) + 1,
                 std::memory_order_relaxed);
  }
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_ = 0;
};

namespace internal {
extern constinit thread_local WorkCounter* counter_of_this_thread;
}  // namespace internal

// Counts one unit of work. On threads without a counter, such as those that
// help with a loop, this is a load and a branch.
inline void CountWork() {
  WorkCounter* counter = internal::counter_of_this_thread;
  if (counter != nullptr) counter->Add();
}

// For the life of this object the thread that creates it counts in `counter`.
// Destroyed on the same thread.
class ScopedWorkCounter {
 public:
  explicit ScopedWorkCounter(WorkCounter& counter);
  ScopedWorkCounter(const ScopedWorkCounter&) = delete;
  ~ScopedWorkCounter();

 private:
  WorkCounter* before_;
};

}  // namespace lextra

#endif  // LEXTRA_BASE_WORK_COUNTER_H_
