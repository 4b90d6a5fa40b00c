#include "parallel/activity/group_call.h"

#include "absl/strings/str_format.h"

namespace lextra {

const char* NameOf(Operation operation) {
  switch (operation) {
    case Operation::kNone:
      return "no call";
    case Operation::kAllReduce:
      return "AllReduce";
    case Operation::kAllGather:
      return "AllGather";
    case Operation::kReduceScatter:
      return "ReduceScatter";
    case Operation::kBroadcast:
      return "Broadcast";
    case Operation::kBarrier:
      return "Barrier";
    case Operation::kSplit:
      return "Split";
    case Operation::kSendReceive:
      return "SendReceive";
  }
  return "unknown call";
}

std::string CallText(const GroupCall& call, std::string_view axis) {
  return absl::StrFormat("%s %d on axis %s (%d bytes)", NameOf(call.operation),
                         call.sequence, axis, call.bytes);
}

}  // namespace lextra
