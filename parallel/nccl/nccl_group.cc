#include "parallel/nccl/nccl_group.h"

#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/failure.h"

namespace lextra {
namespace {

// The watchdog clears them once per second; without one, this limit does.
constexpr size_t kMostWatched = 256;
constexpr auto kWaitToAbort = std::chrono::seconds(2);

}  // namespace

NcclGroup::NcclGroup(std::shared_ptr<NcclLibrary> nccl,
                     std::shared_ptr<GpuStreams> streams,
                     std::shared_ptr<Activity> activity, std::string axis,
                     int size, const NcclId& id, int rank)
    : nccl_(std::move(nccl)),
      streams_(std::move(streams)),
      activity_(std::move(activity)),
      axis_(std::move(axis)) {
  activity_->in_flight_calls().Add(this);
  NcclResult result;
  {
    const auto lock = Enter();
    result = nccl_->CommInitRank(&handle_, size, id, rank);
  }
  Complete(result, "ncclCommInitRankConfig on axis " + axis_);
}

NcclGroup::~NcclGroup() { activity_->in_flight_calls().Remove(this); }

void NcclGroup::Run(const GroupCall& call,
                    const std::function<NcclResult(NcclHandle)>& issue) {
  NcclResult issued;
  NcclResult ended;
  {
    const auto lock = Enter();
    issued = nccl_->GroupStart();
    if (issued == NcclResult::kSuccess) issued = issue(handle_);
    // Also after an error, or the thread would stay in the group.
    ended = nccl_->GroupEnd();
  }
  const bool wrong =
      issued != NcclResult::kSuccess && issued != NcclResult::kInProgress;
  Complete(wrong ? issued : ended, CallText(call, axis_));
}

void NcclGroup::Watch(const GroupCall& call, std::shared_ptr<GpuEvent> done) {
  const Clock::time_point now = Clock::now();
  const std::lock_guard<std::mutex> lock(watched_mutex_);
  if (watched_.size() >= kMostWatched) ForgetFinished();
  // The group's index makes the number unique across groups.
  const uint64_t group = static_cast<uint64_t>(call.group) + 1;
  watched_.push_back(
      {call, group << 56 | ++num_watched_, now, std::move(done)});
}

void NcclGroup::Finalize() {
  NcclResult result;
  {
    const auto lock = Enter();
    result = nccl_->CommFinalize(handle_);
  }
  Complete(result, "ncclCommFinalize on axis " + axis_);
  {
    const auto lock = Enter();
    result = nccl_->CommDestroy(std::exchange(handle_, nullptr));
  }
  // Nothing is left to poll.
  if (result == NcclResult::kInProgress) return;
  Complete(result, "ncclCommDestroy on axis " + axis_);
}

std::unique_lock<std::timed_mutex> NcclGroup::Enter() {
  std::unique_lock<std::timed_mutex> lock(mutex_);
  if (!aborted_) return lock;
  lock.unlock();
  // The watchdog, which aborted the group, is about to end the process.
  while (true) pause();
}

void NcclGroup::Complete(NcclResult result, const std::string& place) {
  while (result == NcclResult::kInProgress) {
    std::this_thread::yield();
    const auto lock = Enter();
    const NcclResult asked = nccl_->CommGetAsyncError(handle_, &result);
    if (asked != NcclResult::kSuccess) result = asked;
  }
  if (result != NcclResult::kSuccess) Fail(result, place);
}

void NcclGroup::Fail(NcclResult result, const std::string& place) {
  const std::string text = ErrorText(result, place);
  TORCH_CHECK(result != NcclResult::kInvalidArgument, text);
  AbortAllRanks(ExitCode::kCommunication, text,
                [this] { activity_->in_flight_calls().AbortAll(); });
}

std::string NcclGroup::ErrorText(NcclResult result, const std::string& place) {
  return absl::StrFormat("NCCL: %s: %s", place,
                         nccl_->ErrorText(result, handle_));
}

void NcclGroup::ForgetFinished() {
  while (!watched_.empty()) {
    const absl::StatusOr<bool> came = streams_->HasCome(*watched_.front().done);
    if (!came.ok() && device_error_.empty()) {
      device_error_ =
          absl::StrFormat("GPU: %s: %s", CallText(watched_.front().call, axis_),
                          came.status().message());
    }
    if (!came.ok() || !*came) return;
    watched_.pop_front();
    oldest_since_ = Clock::now();
  }
}

std::optional<DeviceCall> NcclGroup::OldestCall() {
  const std::lock_guard<std::mutex> lock(watched_mutex_);
  ForgetFinished();
  if (watched_.empty()) return std::nullopt;
  const Watched& oldest = watched_.front();
  const std::chrono::duration<double> age =
      Clock::now() - std::max(oldest.since, oldest_since_);
  return DeviceCall{oldest.call, oldest.number, age.count()};
}

std::optional<std::string> NcclGroup::Error() {
  std::string place = "between calls on axis " + axis_;
  {
    const std::lock_guard<std::mutex> lock(watched_mutex_);
    ForgetFinished();
    if (!device_error_.empty()) return device_error_;
    if (!watched_.empty()) place = CallText(watched_.front().call, axis_);
  }
  const std::unique_lock<std::timed_mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || handle_ == nullptr) return std::nullopt;
  NcclResult state = NcclResult::kSuccess;
  const NcclResult asked = nccl_->CommGetAsyncError(handle_, &state);
  if (asked != NcclResult::kSuccess) state = asked;
  // An invalid argument has been reported to its caller.
  if (state == NcclResult::kSuccess || state == NcclResult::kInProgress ||
      state == NcclResult::kInvalidArgument) {
    return std::nullopt;
  }
  return ErrorText(state, place);
}

void NcclGroup::Abort() {
  // A thread that does not return from a call keeps the group.
  const std::unique_lock<std::timed_mutex> lock(mutex_, kWaitToAbort);
  if (!lock.owns_lock()) return;
  aborted_ = true;
  NcclHandle handle = std::exchange(handle_, nullptr);
  if (handle != nullptr) nccl_->CommAbort(handle);
}

}  // namespace lextra
