// One call on one group of ranks, as messages name it.
#ifndef LEXTRA_PARALLEL_ACTIVITY_GROUP_CALL_H_
#define LEXTRA_PARALLEL_ACTIVITY_GROUP_CALL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace lextra {

enum class Operation : int32_t {
  kNone,
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kBarrier,
  kSplit,
  kSendReceive,  // the only one between two ranks, not the group
};
const char* NameOf(Operation operation);

// One call on one group. `sequence` counts from 1 in each group: the same on
// all ranks for collectives, per rank for SendReceive.
struct GroupCall {
  Operation operation = Operation::kNone;
  int32_t group = -1;  // index in ActivitySnapshot::groups; -1: not listed
  int32_t from = -1;   // rank in the group that SendReceive receives from
  uint64_t sequence = 0;
  int64_t bytes = 0;
};

// "AllReduce 5 on axis data (400 bytes)"
std::string CallText(const GroupCall& call, std::string_view axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_ACTIVITY_GROUP_CALL_H_
