#include "parallel/activity/in_flight_calls.h"

namespace lextra {

void InFlightCalls::Add(AbortableGroup* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  groups_.push_back(group);
}

void InFlightCalls::Remove(AbortableGroup* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase(groups_, group);
}

void InFlightCalls::SetWork(DeviceWork* work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  work_ = work;
}

uint64_t InFlightCalls::NumWorkDone() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return work_ == nullptr ? 0 : work_->NumDone();
}

std::optional<DeviceCall> InFlightCalls::OldestCall() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::optional<DeviceCall> oldest;
  for (AbortableGroup* group : groups_) {
    const std::optional<DeviceCall> call = group->OldestCall();
    if (call && (!oldest || call->seconds > oldest->seconds)) oldest = call;
  }
  return oldest;
}

std::optional<std::string> InFlightCalls::Error() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (AbortableGroup* group : groups_) {
    if (auto error = group->Error()) return error;
  }
  return std::nullopt;
}

void InFlightCalls::AbortAll() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (AbortableGroup* group : groups_) group->Abort();
}

}  // namespace lextra
