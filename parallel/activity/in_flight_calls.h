// Groups of ranks whose calls go on after they returned: those of GPUs. The
// watchdog's thread looks at them while the training thread calls them.
#ifndef LEXTRA_PARALLEL_ACTIVITY_IN_FLIGHT_CALLS_H_
#define LEXTRA_PARALLEL_ACTIVITY_IN_FLIGHT_CALLS_H_

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "parallel/activity/group_call.h"

namespace lextra {

// A call that the device is not through with.
struct DeviceCall {
  GroupCall call;
  // Another one for each call of the rank; not 0.
  uint64_t number = 0;
  // Since it was made and the one before it on its group was seen to be done.
  double seconds = 0;
};

// Functions for the watchdog's thread: they wait for no device and no rank.
class AbortableGroup {
 public:
  virtual ~AbortableGroup() = default;
  virtual std::optional<DeviceCall> OldestCall() = 0;
  // What went wrong and in which call; a group that is busy is asked next time.
  virtual std::optional<std::string> Error() = 0;
  // Ends the calls under way without result. After it the training thread
  // comes back from no call of the group.
  virtual void Abort() = 0;
};

// What the device does between calls.
class DeviceWork {
 public:
  virtual ~DeviceWork() = default;
  // Pieces of work that the device is through with, of those that were marked.
  // For the watchdog's thread, too.
  virtual uint64_t NumDone() = 0;
};

// Those of one rank.
class InFlightCalls {
 public:
  void Add(AbortableGroup* group);
  // Returns when nobody looks at `group` any more.
  void Remove(AbortableGroup* group);
  // Null: none any more.
  void SetWork(DeviceWork* work);

  // Of all groups the call that has been the next to end for longest: it waits
  // for no other one.
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
