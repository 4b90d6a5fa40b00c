#include "parallel/watchdog/hang_diagnosis.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace lextra {
namespace {

constexpr size_t kMostNamed = 16;

// "rank 2", "ranks 0, 1 and 5 more".
std::string Numbers(const std::vector<int>& ranks) {
  if (ranks.empty()) return "no rank";
  const size_t shown = std::min(ranks.size(), kMostNamed);
  std::string text =
      absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ",
                   absl::StrJoin(ranks.begin(), ranks.begin() + shown, ", "));
  if (shown < ranks.size()) {
    absl::StrAppend(&text, " and ", ranks.size() - shown, " more");
  }
  return text;
}

const ActivitySnapshot::Group* GroupOfCall(const ActivitySnapshot& activity) {
  const int group = activity.call.group;
  return group < 0 ? nullptr : &activity.groups[group];
}

const ActivitySnapshot::Group* FindGroup(const ActivitySnapshot& activity,
                                         uint64_t id) {
  for (const ActivitySnapshot::Group& group : activity.groups) {
    if (group.id == id) return &group;
  }
  return nullptr;
}

std::string CallText(const ActivitySnapshot& activity) {
  const ActivitySnapshot::Group* group = GroupOfCall(activity);
  return CallText(activity.call, group == nullptr ? "?" : group->axis.data());
}

std::string PhaseText(const ActivitySnapshot& activity) {
  const std::string phase = NameOf(activity.phase);
  if (activity.step == 0) return phase;
  return absl::StrCat(phase, ", step ", activity.step);
}

// The ranks without which the call that `rank` is in can't complete.
std::vector<int> MissingFor(const std::vector<RankState>& ranks, int rank) {
  std::vector<int> missing;
  const ActivitySnapshot& mine = ranks[rank].activity;
  const ActivitySnapshot::Group* group = GroupOfCall(mine);
  if (!mine.in_call || group == nullptr) return missing;
  for (int other = 0; other < std::ssize(ranks); ++other) {
    const ActivitySnapshot::Group* theirs =
        FindGroup(ranks[other].activity, group->id);
    if (other == rank || theirs == nullptr) continue;
    const bool awaited = mine.call.operation == Operation::kSendReceive
                             ? theirs->rank == mine.call.from
                             : theirs->num_collectives < mine.call.sequence;
    if (awaited) missing.push_back(other);
  }
  return missing;
}

class HangDiagnosis {
 public:
  HangDiagnosis(const std::vector<RankState>& ranks, const WatchLimits& limits)
      : ranks_(ranks), limits_(limits), num_ranks_(ranks.size()) {
    for (int rank = 0; rank < num_ranks_; ++rank) {
      const RankState& state = ranks[rank];
      stuck_.push_back(!state.finished &&
                       state.idle_seconds >
                           IdleLimitSeconds(state.activity, limits));
      missing_.push_back(MissingFor(ranks, rank));
    }
  }

  std::optional<Diagnosis> Run() const {
    if (auto silent = Silent()) return silent;
    if (std::none_of(stuck_.begin(), stuck_.end(), [](bool b) { return b; })) {
      return std::nullopt;
    }
    if (auto hanging = HangingOrGone()) return hanging;
    if (auto complete = CompleteButUnending()) return complete;
    return Cycle();
  }

 private:
  // Ranks that wait for `rank`.
  std::vector<int> WaitingFor(int rank) const;
  // Those in the same call of the same group as `rank`, including itself.
  std::vector<int> Arrived(int rank) const;
  // Every rank that `rank` waits for, directly or not, is stuck.
  bool OnlyStuckBehind(int rank) const;

  std::optional<Diagnosis> Silent() const;
  std::optional<Diagnosis> HangingOrGone() const;
  std::optional<Diagnosis> CompleteButUnending() const;
  std::optional<Diagnosis> Cycle() const;

  std::string RankText(int rank) const {
    return absl::StrCat("rank ", rank, " (host ", ranks_[rank].host, ")");
  }
  // What it is doing, and which call it is in or finished last.
  std::string Doing(int rank) const;
  std::string RanksText(const std::vector<int>& ranks) const;
  // "; ranks 0, 2 are waiting in AllReduce 5 on axis data (4 bytes) for rank 1"
  std::string WaitText(const std::vector<int>& culprits) const;

  const std::vector<RankState>& ranks_;
  const WatchLimits& limits_;
  int num_ranks_;
  std::vector<bool> stuck_;
  std::vector<std::vector<int>> missing_;
};

std::vector<int> HangDiagnosis::WaitingFor(int rank) const {
  std::vector<int> waiting;
  for (int other = 0; other < num_ranks_; ++other) {
    if (std::count(missing_[other].begin(), missing_[other].end(), rank) > 0) {
      waiting.push_back(other);
    }
  }
  return waiting;
}

std::vector<int> HangDiagnosis::Arrived(int rank) const {
  const ActivitySnapshot& mine = ranks_[rank].activity;
  const ActivitySnapshot::Group* group = GroupOfCall(mine);
  std::vector<int> arrived;
  for (int other = 0; other < num_ranks_; ++other) {
    const ActivitySnapshot& theirs = ranks_[other].activity;
    const ActivitySnapshot::Group* their_group = GroupOfCall(theirs);
    const bool same = theirs.in_call && group != nullptr &&
                      their_group != nullptr && their_group->id == group->id &&
                      theirs.call.sequence == mine.call.sequence;
    if (other == rank || same) arrived.push_back(other);
  }
  return arrived;
}

bool HangDiagnosis::OnlyStuckBehind(int rank) const {
  std::vector<bool> seen(num_ranks_, false);
  std::vector<int> open = {rank};
  seen[rank] = true;
  while (!open.empty()) {
    const int next = open.back();
    open.pop_back();
    if (!stuck_[next]) return false;
    for (const int behind : missing_[next]) {
      if (!seen[behind]) open.push_back(behind);
      seen[behind] = true;
    }
  }
  return true;
}

std::string HangDiagnosis::Doing(int rank) const {
  const ActivitySnapshot& activity = ranks_[rank].activity;
  std::string text = PhaseText(activity);
  if (activity.call.operation == Operation::kNone) return text;
  absl::StrAppend(&text, activity.in_call ? ", in " : ", last finished ",
                  CallText(activity));
  return text;
}

std::string HangDiagnosis::RanksText(const std::vector<int>& ranks) const {
  std::vector<std::string> texts;
  for (const int rank : ranks) {
    if (texts.size() == kMostNamed) break;
    texts.push_back(absl::StrCat(RankText(rank), " [", Doing(rank), "]"));
  }
  if (texts.size() < ranks.size()) {
    texts.push_back(absl::StrCat(ranks.size() - texts.size(), " more"));
  }
  return absl::StrJoin(texts, ", ");
}

std::string HangDiagnosis::WaitText(const std::vector<int>& culprits) const {
  // The earliest call that waits for them.
  int first = -1;
  for (const int culprit : culprits) {
    for (const int waiting : WaitingFor(culprit)) {
      if (first < 0 || ranks_[waiting].activity.call.sequence <
                           ranks_[first].activity.call.sequence) {
        first = waiting;
      }
    }
  }
  // If only one rank's state is known, who waits for it is not.
  if (first < 0) {
    return num_ranks_ == 1 ? "" : "; no rank is waiting for it yet";
  }
  const std::vector<int> arrived = Arrived(first);
  return absl::StrFormat("; %s %s waiting in %s for %s", Numbers(arrived),
                         arrived.size() == 1 ? "is" : "are",
                         CallText(ranks_[first].activity),
                         Numbers(missing_[first]));
}

std::optional<Diagnosis> HangDiagnosis::Silent() const {
  Diagnosis diagnosis;
  double longest = 0;
  for (int rank = 0; rank < num_ranks_; ++rank) {
    const RankState& state = ranks_[rank];
    if (state.finished || state.silent_seconds <= limits_.silence_seconds) {
      continue;
    }
    diagnosis.culprits.push_back(rank);
    longest = std::max(longest, state.silent_seconds);
  }
  if (diagnosis.culprits.empty()) return std::nullopt;
  diagnosis.report = absl::StrFormat(
      "watchdog: no heartbeat from %s for %.1f s: the process is stopped, or "
      "its host or network link is down%s",
      RanksText(diagnosis.culprits), longest, WaitText(diagnosis.culprits));
  return diagnosis;
}

std::optional<Diagnosis> HangDiagnosis::HangingOrGone() const {
  Diagnosis diagnosis;
  double longest = 0;
  for (int rank = 0; rank < num_ranks_; ++rank) {
    const RankState& state = ranks_[rank];
    bool guilty = stuck_[rank] && !state.activity.in_call;
    if (state.finished) {
      for (const int waiting : WaitingFor(rank)) guilty |= stuck_[waiting];
    }
    if (!guilty) continue;
    diagnosis.culprits.push_back(rank);
    longest = std::max(longest, state.idle_seconds);
  }
  if (diagnosis.culprits.empty()) return std::nullopt;
  diagnosis.report = absl::StrFormat(
      "watchdog: %s made no progress for %.1f s outside any collective%s",
      RanksText(diagnosis.culprits), longest, WaitText(diagnosis.culprits));
  return diagnosis;
}

std::optional<Diagnosis> HangDiagnosis::CompleteButUnending() const {
  for (int rank = 0; rank < num_ranks_; ++rank) {
    if (!stuck_[rank] || !missing_[rank].empty()) continue;
    const std::vector<int> arrived = Arrived(rank);
    return Diagnosis{
        .culprits = arrived,
        .report = absl::StrFormat(
            "watchdog: %s has not completed after %.1f s although every rank "
            "entered it: %s; a message was lost, a GPU is stuck, or the ranks "
            "are out of sync",
            CallText(ranks_[rank].activity), ranks_[rank].idle_seconds,
            RanksText(arrived))};
  }
  return std::nullopt;
}

std::optional<Diagnosis> HangDiagnosis::Cycle() const {
  Diagnosis diagnosis;
  double longest = 0;
  for (int rank = 0; rank < num_ranks_; ++rank) {
    if (!stuck_[rank] || !OnlyStuckBehind(rank)) continue;
    diagnosis.culprits.push_back(rank);
    longest = std::max(longest, ranks_[rank].idle_seconds);
  }
  if (diagnosis.culprits.empty()) return std::nullopt;
  diagnosis.report =
      absl::StrFormat("watchdog: ranks waiting for each other for %.1f s: %s",
                      longest, RanksText(diagnosis.culprits));
  return diagnosis;
}

}  // namespace

double IdleLimitSeconds(const ActivitySnapshot& activity,
                        const WatchLimits& limits) {
  const bool steady = (activity.phase == Phase::kTraining ||
                       activity.phase == Phase::kValidation) &&
                      activity.step_limit_seconds > 0;
  return std::max(limits.idle_seconds, steady ? activity.step_limit_seconds
                                              : limits.patience_seconds);
}

std::vector<std::optional<std::vector<int>>> LongWaits(
    const std::vector<RankState>& ranks, const WatchLimits& limits) {
  std::vector<std::optional<std::vector<int>>> waits(ranks.size());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankState& state = ranks[rank];
    if (state.activity.in_call &&
        state.idle_seconds > IdleLimitSeconds(state.activity, limits) / 2) {
      waits[rank] = MissingFor(ranks, static_cast<int>(rank));
    }
  }
  return waits;
}

std::optional<Diagnosis> Diagnose(const std::vector<RankState>& ranks,
                                  const WatchLimits& limits) {
  return HangDiagnosis(ranks, limits).Run();
}

}  // namespace lextra
