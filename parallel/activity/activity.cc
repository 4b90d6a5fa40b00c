#include "parallel/activity/activity.h"

#include <algorithm>

namespace lextra {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Steps are steady after a few. The limit is far above what this run has seen,
// whatever its model and machine.
constexpr int64_t kWarmUpSteps = 5;
constexpr size_t kRecentSteps = 64;
constexpr double kTimesSlowest = 5;
constexpr double kTimesMedian = 12;

}  // namespace

const char* NameOf(Phase phase) {
  switch (phase) {
    case Phase::kStartUp:
      return "start-up";
    case Phase::kLoad:
      return "load";
    case Phase::kTraining:
      return "training";
    case Phase::kValidation:
      return "validation";
    case Phase::kSave:
      return "save";
    case Phase::kEvaluation:
      return "evaluation";
    case Phase::kShutdown:
      return "shutdown";
  }
  return "unknown phase";
}

Activity::Activity() : phase_start_(Clock::now()) {
  recent_steps_seconds_.reserve(kRecentSteps);
}

void Activity::SetPhase(Phase phase, int64_t step) {
  const Clock::time_point now = Clock::now();
  // Validation calls this for every batch: the step before it has ended.
  if (phase_.load(kRelaxed) == Phase::kTraining) EndTrainingStep(now);
  phase_start_ = now;
  phase_.store(phase, kRelaxed);
  step_.store(step, kRelaxed);
  Tick();
}

void Activity::EndTrainingStep(Clock::time_point now) {
  if (++num_steps_ <= kWarmUpSteps) return;
  const double seconds =
      std::chrono::duration<double>(now - phase_start_).count();
  slowest_step_seconds_ = std::max(slowest_step_seconds_, seconds);
  if (recent_steps_seconds_.size() < kRecentSteps) {
    recent_steps_seconds_.push_back(seconds);
  } else {
    recent_steps_seconds_[num_steps_ % kRecentSteps] = seconds;
  }
  std::array<double, kRecentSteps> sorted;
  const auto end = std::copy(recent_steps_seconds_.begin(),
                             recent_steps_seconds_.end(), sorted.begin());
  const auto median = sorted.begin() + (end - sorted.begin()) / 2;
  std::nth_element(sorted.begin(), median, end);
  step_limit_seconds_.store(
      std::max(kTimesSlowest * slowest_step_seconds_, kTimesMedian * *median),
      kRelaxed);
}

ActivitySnapshot Activity::Snapshot() const {
  ActivitySnapshot snapshot;
  snapshot.phase = phase_.load(kRelaxed);
  snapshot.step = step_.load(kRelaxed);
  snapshot.progress = progress_.load(kRelaxed) + work_.count();
  snapshot.in_call = in_call_.load(kRelaxed);
  snapshot.call = {.operation = operation_.load(kRelaxed),
                   .group = group_.load(kRelaxed),
                   .from = from_.load(kRelaxed),
                   .sequence = sequence_.load(kRelaxed),
                   .bytes = bytes_.load(kRelaxed)};
  snapshot.step_limit_seconds = step_limit_seconds_.load(kRelaxed);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (int i = 0; i < ActivitySnapshot::kMaxGroups; ++i) {
    ActivitySnapshot::Group& group = snapshot.groups[i];
    group.id = groups_[i].id;
    groups_[i].axis.copy(group.axis.data(), group.axis.size() - 1);
    group.rank = groups_[i].rank;
    group.num_collectives = groups_[i].num_collectives.load(kRelaxed);
  }
  if (snapshot.call.group == ActivitySnapshot::kMaxGroups) {
    snapshot.call.group = -1;
  }
  return snapshot;
}

int Activity::AddGroup(uint64_t id, const std::string& axis, int rank) {
  const std::lock_guard<std::mutex> lock(mutex_);
  int index = 0;
  while (index < ActivitySnapshot::kMaxGroups && groups_[index].id != 0) {
    ++index;
  }
  Group& group = groups_[index];
  group.id = id;
  group.axis = axis;
  group.rank = rank;
  group.num_collectives.store(0, kRelaxed);
  group.num_exchanges.store(0, kRelaxed);
  return index;
}

void Activity::RemoveGroup(int group) {
  const std::lock_guard<std::mutex> lock(mutex_);
  groups_[group].id = 0;
}

uint64_t Activity::NextRootId() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ++num_roots_;
}

GroupCall Activity::Begin(int group, Operation operation, int64_t bytes,
                          int from) {
  Group& counts = groups_[group];
  const GroupCall call = {.operation = operation,
                          .group = group,
                          .from = from,
                          .sequence = Add(operation == Operation::kSendReceive
                                              ? counts.num_exchanges
                                              : counts.num_collectives),
                          .bytes = bytes};
  Enter(call);
  return call;
}

void Activity::Enter(const GroupCall& call) {
  operation_.store(call.operation, kRelaxed);
  group_.store(call.group, kRelaxed);
  from_.store(call.from, kRelaxed);
  sequence_.store(call.sequence, kRelaxed);
  bytes_.store(call.bytes, kRelaxed);
  in_call_.store(true, kRelaxed);
}

void Activity::Leave() {
  in_call_.store(false, kRelaxed);
  Tick();
}

}  // namespace lextra
