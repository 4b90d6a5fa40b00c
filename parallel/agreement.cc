#include "parallel/agreement.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/host.h"

namespace lextra {
namespace {

at::Tensor Scalar(Communicator& group, int64_t value) {
  return at::full({1}, value,
                  at::TensorOptions(at::kLong).device(group.device()));
}

// `text` as bytes on the group's device, padded to `size`.
at::Tensor BytesOf(Communicator& group, const std::string& text, int64_t size) {
  const at::Tensor bytes = at::zeros({size}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes.to(group.device());
}

std::string TextOf(const at::Tensor& bytes) {
  const at::Tensor here = bytes.to(at::kCPU).contiguous();
  return std::string(static_cast<const char*>(here.const_data_ptr()),
                     here.numel());
}

// The same on processes that see the same device and inode numbers. Hosts may
// have the same name by mistake; containers of one host have several.
std::string RunningSystem() {
  std::string boot_id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot_id;
  return absl::StrCat(HostName(), " ", boot_id);
}

std::string HostsText(std::vector<std::string> hosts) {
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  constexpr size_t kShown = 3;
  const size_t left_out = hosts.size() - std::min(hosts.size(), kShown);
  hosts.resize(hosts.size() - left_out);
  return absl::StrCat(
      hosts.size() + left_out == 1 ? "host " : "hosts ",
      absl::StrJoin(hosts, ", "),
      left_out > 0 ? absl::StrCat(" and ", left_out, " more") : "");
}

}  // namespace

absl::Status AgreeOnStatus(Communicator& group, const absl::Status& mine) {
  if (group.size() == 1) return mine;
  const at::Tensor speaker =
      Scalar(group, mine.ok() ? group.size() : group.rank());
  group.AllReduce(speaker, ReduceOp::kMin);
  const int root = static_cast<int>(speaker.item<int64_t>());
  if (root == group.size()) return absl::OkStatus();

  const at::Tensor code = Scalar(group, static_cast<int64_t>(mine.code()));
  group.Broadcast(code, root);
  const std::string message =
      BroadcastText(group, std::string(mine.message()), root);
  return absl::Status(static_cast<absl::StatusCode>(code.item<int64_t>()),
                      absl::StrCat("rank ", root, ": ", message));
}

std::string BroadcastText(Communicator& group, const std::string& text,
                          int root) {
  const at::Tensor size = Scalar(group, static_cast<int64_t>(text.size()));
  group.Broadcast(size, root);
  const at::Tensor bytes =
      group.rank() == root
          ? BytesOf(group, text, static_cast<int64_t>(text.size()))
          : BytesOf(group, "", size.item<int64_t>());
  group.Broadcast(bytes, root);
  return TextOf(bytes);
}

std::vector<std::string> GatherTexts(Communicator& group,
                                     const std::string& text) {
  const at::Tensor size = Scalar(group, static_cast<int64_t>(text.size()));
  const at::Tensor sizes = at::empty({group.size()}, size.options());
  group.AllGather(sizes, size);
  const int64_t longest = sizes.max().item<int64_t>();
  const at::Tensor bytes = BytesOf(group, text, longest);
  const at::Tensor all = at::empty({group.size(), longest}, bytes.options());
  group.AllGather(all, bytes);

  std::vector<std::string> texts;
  for (int rank = 0; rank < group.size(); ++rank) {
    texts.push_back(
        TextOf(all[rank].narrow(0, 0, sizes[rank].item<int64_t>())));
  }
  return texts;
}

std::string RanksText(const std::vector<int>& ranks) {
  std::vector<std::string> runs;
  for (size_t begin = 0; begin < ranks.size();) {
    size_t end = begin + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    runs.push_back(end - begin == 1
                       ? absl::StrCat(ranks[begin])
                       : absl::StrCat(ranks[begin], "-", ranks[end - 1]));
    begin = end;
  }
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ",
                      absl::StrJoin(runs, ", "));
}

std::string DifferenceOverRanks(Communicator& group, const std::string& value) {
  if (group.size() == 1) return "";
  const std::vector<std::string> values = GatherTexts(group, value);
  // All ranks see the same values, so all of them return here or none.
  if (std::all_of(values.begin(), values.end(), [&](const std::string& other) {
        return other == values[0];
      })) {
    return "";
  }
  const std::vector<std::string> hosts = GatherTexts(group, HostName());
  std::vector<std::string> in_order;  // by the lowest rank
  std::map<std::string, std::vector<int>> ranks_of;
  for (int rank = 0; rank < group.size(); ++rank) {
    std::vector<int>& ranks = ranks_of[values[rank]];
    if (ranks.empty()) in_order.push_back(values[rank]);
    ranks.push_back(rank);
  }
  constexpr size_t kShown = 4;
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(in_order.size(), kShown); ++i) {
    const std::vector<int>& ranks = ranks_of[in_order[i]];
    std::vector<std::string> hosts_of_ranks;
    for (const int rank : ranks) hosts_of_ranks.push_back(hosts[rank]);
    parts.push_back(absl::StrCat(in_order[i], " on ", RanksText(ranks), " (",
                                 HostsText(std::move(hosts_of_ranks)), ")"));
  }
  if (in_order.size() > kShown) {
    parts.push_back(
        absl::StrCat("and ", in_order.size() - kShown, " more values"));
  }
  return absl::StrJoin(parts, "; ");
}

absl::StatusOr<std::string> MakeOncePerKey(
    Communicator& group, const std::string& key,
    const std::function<absl::StatusOr<std::string>()>& make) {
  const std::vector<std::string> keys =
      GatherTexts(group, absl::StrCat(RunningSystem(), " ", key));
  const int maker = static_cast<int>(
      std::find(keys.begin(), keys.end(), keys[group.rank()]) - keys.begin());
  absl::StatusOr<std::string> made = std::string();
  if (group.rank() == 0) made = make();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(group, made.status()));
  if (group.rank() == maker && maker != 0) made = make();
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(group, made.status()));
  return GatherTexts(group, *made)[maker];
}

}  // namespace lextra
