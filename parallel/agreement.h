// Ranks that must decide alike: errors and texts known to one become known to
// all, and what differs between them is found. Collective over the given group.
#ifndef LEXTRA_PARALLEL_AGREEMENT_H_
#define LEXTRA_PARALLEL_AGREEMENT_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace lextra {

// OK if all ranks are OK; otherwise, on every rank, the status of the lowest
// rank that is not ("rank r: " in front where the group has several ranks).
absl::Status AgreeOnStatus(Communicator& group, const absl::Status& mine);

// `text` of rank `root`, on all ranks.
std::string BroadcastText(Communicator& group, const std::string& text,
                          int root);

// The texts of all ranks in rank order, on all ranks.
std::vector<std::string> GatherTexts(Communicator& group,
                                     const std::string& text);

// Empty where all ranks give the same `value`; otherwise, on every rank, who
// has which: "X on ranks 0-2 (host a); Y on rank 3 (host b)".
std::string DifferenceOverRanks(Communicator& group, const std::string& value);

// The text that `make` yields, or the error of the lowest rank that has one.
// Ranks of one host that give the same `key` have it made once, by the lowest
// of them. Rank 0 makes its own before the others begin, so that they may find
// what it left on storage that they share.
absl::StatusOr<std::string> MakeOncePerKey(
    Communicator& group, const std::string& key,
    const std::function<absl::StatusOr<std::string>()>& make);

// "rank 3", "ranks 0-2, 5": of ranks in rising order.
std::string RanksText(const std::vector<int>& ranks);

// Runs `load` on rank 0 alone and gives its text or its error to all ranks.
template <typename Load>
absl::StatusOr<std::string> LoadOnRankZero(Communicator& group, Load load) {
  absl::StatusOr<std::string> text = std::string();
  if (group.rank() == 0) text = load();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(group, text.status()));
  return BroadcastText(group, *text, 0);
}

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_AGREEMENT_H_
