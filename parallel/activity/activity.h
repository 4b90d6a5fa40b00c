// What a rank is doing, as its watchdog sees it (parallel/watchdog/watchdog.h).
//
// The training thread writes, the watchdog's thread reads. A Communicator call
// costs a few relaxed stores: no lock, no allocation. A snapshot of a rank that
// makes progress may therefore mix two calls; the snapshot of a blocked rank is
// exact, and only blocked ranks are diagnosed.
#ifndef LEXTRA_PARALLEL_ACTIVITY_ACTIVITY_H_
#define LEXTRA_PARALLEL_ACTIVITY_ACTIVITY_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/work_counter.h"
#include "parallel/activity/group_call.h"
#include "parallel/activity/in_flight_calls.h"

namespace lextra {

enum class Phase : int32_t {
  kStartUp,
  kLoad,
  kTraining,
  kValidation,
  kSave,
  kEvaluation,
  kShutdown,
};
const char* NameOf(Phase phase);

// Sent as raw bytes between ranks of one program.
struct ActivitySnapshot {
  static constexpr int kMaxGroups = 16;

  struct Group {
    uint64_t id = 0;  // the same on its ranks, unique to the group; 0: none
    std::array<char, 16> axis = {};  // ends with 0
    int32_t rank = 0;                // of this process in the group
    uint64_t num_collectives = 0;    // begun by this rank
  };

  Phase phase = Phase::kStartUp;
  int64_t step = 0;
  // Grows with every finished call, every new phase and every piece of work.
  uint64_t progress = 0;
  bool in_call = false;
  GroupCall call;  // current call of this rank, or its last
  // Time limit of a training step; 0 until steps are steady.
  double step_limit_seconds = 0;
  // Identifies the oldest call that this rank's GPU is in; 0: none.
  uint64_t device_call = 0;
  // Grows when this rank's GPU completes a piece of work.
  uint64_t device_work = 0;
  std::array<Group, kMaxGroups> groups = {};
};

class Activity {
 public:
  Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  // Enters a phase. In training `step` is the step that begins.
  void SetPhase(Phase phase, int64_t step = 0);
  // This rank makes progress without calling a collective.
  void Tick() { Add(progress_); }
  // Where the rank's thread counts its work (base/work_counter.h).
  WorkCounter& work() { return work_; }

  ActivitySnapshot Snapshot() const;

  // For Communicators. A group beyond kMaxGroups is not listed: its calls count
  // as progress, but no rank is blamed for them. Returns its index.
  int AddGroup(uint64_t id, const std::string& axis, int rank);
  void RemoveGroup(int group);
  // Groups over all ranks are distinguished by the order of their creation.
  uint64_t NextRootId();
  // This rank's groups whose calls return before they complete.
  InFlightCalls& in_flight_calls() { return device_groups_; }

  // Around everything that may block. Calls of one rank do not overlap.
  // Enter(call) re-enters a call that was left in flight.
  GroupCall Begin(int group, Operation operation, int64_t bytes, int from = -1);
  void Enter(const GroupCall& call);
  void Leave();

 private:
  using Clock = std::chrono::steady_clock;

  struct Group {
    std::atomic<uint64_t> num_collectives = 0;
    std::atomic<uint64_t> num_exchanges = 0;
    // Under mutex_.
    uint64_t id = 0;
    std::string axis;
    int rank = 0;
  };

  static uint64_t Add(std::atomic<uint64_t>& count) {
    // One writer: no need for a locked instruction.
    const uint64_t next = count.load(std::memory_order_relaxed) + 1;
    count.store(next, std::memory_order_relaxed);
    return next;
  }
  void EndTrainingStep(Clock::time_point now);

  std::atomic<Phase> phase_ = Phase::kStartUp;
  std::atomic<int64_t> step_ = 0;
  std::atomic<uint64_t> progress_ = 0;
  WorkCounter work_;
  std::atomic<bool> in_call_ = false;
  std::atomic<Operation> operation_ = Operation::kNone;
  std::atomic<int32_t> group_ = -1;
  std::atomic<int32_t> from_ = -1;
  std::atomic<uint64_t> sequence_ = 0;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<double> step_limit_seconds_ = 0;

  // The last entry stands for all groups beyond kMaxGroups.
  std::array<Group, ActivitySnapshot::kMaxGroups + 1> groups_;
  mutable std::mutex mutex_;
  uint64_t num_roots_ = 0;

  InFlightCalls device_groups_;

  // Used only by the training thread.
  Clock::time_point phase_start_;
  int64_t num_steps_ = 0;
  double slowest_step_seconds_ = 0;
  std::vector<double> recent_steps_seconds_;
};

// Identifies a Communicator to its rank's Activity.
struct GroupIdentity {
  std::shared_ptr<Activity> activity;
  uint64_t id = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_ACTIVITY_ACTIVITY_H_
