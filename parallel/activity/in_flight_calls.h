// Groups whose calls return before they complete: those of GPUs. The watchdog's
// thread inspects them while the training thread uses them.
#ifndef LEXTRA_PARALLEL_ACTIVITY_IN_FLIGHT_CALLS_H_
#define LEXTRA_PARALLEL_ACTIVITY_IN_FLIGHT_CALLS_H_

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "parallel/activity/group_call.h"

namespace lextra {

// A call that the device has not completed.
struct DeviceCall {
  GroupCall call;
  // Unique per call of the rank; not 0.
  uint64_t number = 0;
  // Since it was issued and the previous call of its group was seen to be done.
  double seconds = 0;
};

// For the watchdog's thread: no function waits for a device or a rank.
class AbortableGroup {
 public:
  virtual ~AbortableGroup() = default;
  virtual std::optional<DeviceCall> OldestCall() = 0;
  // What went wrong and in which call; nullopt also while the group is busy.
  virtual std::optional<std::string> Error() = 0;
  // Aborts the calls in flight. Afterwards no call of the group returns to the
  // training thread.
  virtual void Abort() = 0;
};

// The device's work between calls.
class DeviceWork {
 public:
  virtual ~DeviceWork() = default;
  // Number of marked pieces of work that the device has completed. Also called
  // by the watchdog's thread.
  virtual uint64_t NumDone() = 0;
};

// The groups of one rank.
class InFlightCalls {
 public:
  void Add(AbortableGroup* group);
  // Returns when no thread uses `group` any more.
  void Remove(AbortableGroup* group);
  // Null: no longer any.
  void SetWork(DeviceWork* work);

  // The call of any group that has been next to complete for longest: it waits
  // for no other call.
  std::optional<DeviceCall> OldestCall();
  std::optional<std::string> Error();
  uint64_t NumWorkDone();
  void AbortAll();

 private:
  std::mutex mutex_;
  std::vector<AbortableGroup*> groups_;
  DeviceWork* work_ = nullptr;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_ACTIVITY_IN_FLIGHT_CALLS_H_
