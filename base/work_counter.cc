#include "base/work_counter.h"

#include <utility>

namespace lextra {

constinit thread_local WorkCounter* internal::counter_of_this_thread = nullptr;

ScopedWorkCounter::ScopedWorkCounter(WorkCounter& counter)
    : before_(std::exchange(internal::counter_of_this_thread, &counter)) {}

ScopedWorkCounter::~ScopedWorkCounter() {
  internal::counter_of_this_thread = before_;
}

}  // namespace lextra
