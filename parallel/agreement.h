// Agreement between ranks: shares errors and texts with all ranks, and finds
// differences between them. Collective over the given group.
#ifndef LEXTRA_PARALLEL_AGREEMENT_H_
#define LEXTRA_PARALLEL_AGREEMENT_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

// OK if all ranks are OK; otherwise, on every rank, the status of the lowest
// rank that is not (prefixed with "rank r: " if the group has several ranks).
absl::Status AgreeOnStatus(Communicator& group, const absl::Status& mine);

// `text` of rank `root`, on all ranks.
std::string BroadcastText(Communicator& group, const std::string& text,
                          int root);

// The texts of all ranks in rank order, on all ranks.
std::vector<std::string> GatherTexts(Communicator& group,
                                     const std::string& text);

// Empty if all ranks give the same `value`; otherwise, on every rank, which
// rank has which: "X on ranks 0-2 (host a); Y on rank 3 (host b)".
std::string DifferenceOverRanks(Communicator& group, const std::string& value);

// The text that `make` returns, or the error of the lowest rank that has one.
// For ranks of one host with the same `key`, only the lowest calls `make`. Rank
// 0 calls it before the others begin, so they may find what it left on shared
// storage.
absl::StatusOr<std::string> MakeOncePerKey(
    Communicator& group, const std::string& key,
    const std::function<absl::StatusOr<std::string>()>& make);

// "rank 3", "ranks 0-2, 5"; `ranks` are ascending.
std::string RanksText(const std::vector<int>& ranks);

// Runs `load` on rank 0 only and gives its text or error to all ranks.
template <typename Load>
absl::StatusOr<std::string> LoadOnRankZero(Communicator& group, Load load) {
  absl::StatusOr<std::string> text = std::string();
  if (group.rank() == 0) text = load();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(group, text.status()));
  return BroadcastText(group, *text, 0);
}

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_AGREEMENT_H_
