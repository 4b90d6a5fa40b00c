#include "parallel/agreement.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace lextra {
namespace {

at::Tensor Scalar(Communicator& group, int64_t value) {
  return at::full({1}, value,
                  at::TensorOptions(at::kLong).device(group.device()));
}

// `text` as bytes where the group's tensors live, filled up to `size`.
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

}  // namespace lextra
