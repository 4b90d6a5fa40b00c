// One NCCL communicator: created, used, watched and shut down in order.
//
//   CommInitRank, poll -> [GroupStart, calls, GroupEnd, poll]* -> CommFinalize,
//   poll -> CommDestroy; or at any time CommAbort, and then nothing more.
//
// The training thread and the watchdog's thread take turns: a lock is held for
// one NCCL call, or for one group of calls, never while polling. So CommAbort
// finds no thread inside a call.
#ifndef LEXTRA_PARALLEL_NCCL_NCCL_GROUP_H_
#define LEXTRA_PARALLEL_NCCL_NCCL_GROUP_H_

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "parallel/activity/activity.h"
#include "parallel/activity/in_flight_calls.h"
#include "parallel/nccl/gpu_streams.h"
#include "parallel/nccl/nccl_library.h"

namespace lextra {

class NcclGroup : public AbortableGroup {
 public:
  // Collective over the `size` ranks that hold `id`; returns when all have
  // joined. `axis` is the group's name in messages.
  NcclGroup(std::shared_ptr<NcclLibrary> nccl,
            std::shared_ptr<GpuStreams> streams,
            std::shared_ptr<Activity> activity, std::string axis, int size,
            const NcclId& id, int rank);
  // Without a preceding Finalize() an error is propagating to main. The
  // communicator is then left until the process ends.
  ~NcclGroup() override;

  // Issues the calls of `issue` as one group and returns when they are on the
  // stream. kInvalidArgument is the caller's mistake (an exception), after
  // which the group remains usable; any other error ends all ranks.
  void Run(const GroupCall& call,
           const std::function<NcclResult(NcclHandle)>& issue);
  // `done` completes when the device has completed `call`.
  void Watch(const GroupCall& call, std::shared_ptr<GpuEvent> done);

  // Collective; waits for the work on the stream.
  void Finalize();

  std::optional<DeviceCall> OldestCall() override;
  std::optional<std::string> Error() override;
  void Abort() override;

 private:
  using Clock = std::chrono::steady_clock;

  struct Watched {
    GroupCall call;
    uint64_t number;
    Clock::time_point since;
    std::shared_ptr<GpuEvent> done;
  };

  // Takes the lock for one call; never returns once the group is aborted.
  std::unique_lock<std::timed_mutex> Enter();
  // Polls while `result` is kInProgress and checks the outcome.
  void Complete(NcclResult result, const std::string& place);
  [[noreturn]] void Fail(NcclResult result, const std::string& place);
  std::string ErrorText(NcclResult result, const std::string& place);
  void ForgetFinished();  // under watched_mutex_

  const std::shared_ptr<NcclLibrary> nccl_;
  const std::shared_ptr<GpuStreams> streams_;
  const std::shared_ptr<Activity> activity_;
  const std::string axis_;

  std::timed_mutex mutex_;
  NcclHandle handle_ = nullptr;  // null once it is finalized or aborted
  bool aborted_ = false;

  std::mutex watched_mutex_;
  std::deque<Watched> watched_;  // in the order of the stream
  Clock::time_point oldest_since_ = Clock::now();
  uint64_t num_watched_ = 0;
  std::string device_error_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_NCCL_GROUP_H_
