#include "parallel/activity/device_groups.h"

namespace lextra {

void DeviceGroups::Add(DeviceGroup* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  groups_.push_back(group);
}

void DeviceGroups::Remove(DeviceGroup* group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase(groups_, group);
}

void DeviceGroups::SetWork(DeviceWork* work) {
  const std::lock_guard<std::mutex> lock(mutex_);
  work_ = work;
}

uint64_t DeviceGroups::NumWorkDone() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return work_ == nullptr ? 0 : work_->NumDone();
}

std::optional<DeviceCall> DeviceGroups::OldestCall() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::optional<DeviceCall> oldest;
  for (DeviceGroup* group : groups_) {
    const std::optional<DeviceCall> call = group->OldestCall();
    if (call && (!oldest || call->seconds > oldest->seconds)) oldest = call;
  }
  return oldest;
}

std::optional<std::string> DeviceGroups::Error() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (DeviceGroup* group : groups_) {
    if (auto error = group->Error()) return error;
  }
  return std::nullopt;
}

void DeviceGroups::AbortAll() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (DeviceGroup* group : groups_) group->Abort();
}

}  // namespace lextra
