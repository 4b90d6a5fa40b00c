#include "parallel/communicator.h"

#include <ATen/record_function.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "base/failure.h"
#include "base/seeds.h"

namespace lextra {

namespace {

// Its name in a profile.
std::string ScopeName(Operation operation) {
  return absl::StrCat("communication: ", NameOf(operation));
}

}  // namespace

PendingCollective::PendingCollective(std::unique_ptr<State> state)
    : state_(std::move(state)) {}

PendingCollective& PendingCollective::operator=(PendingCollective&& other) {
  CheckNotPending();
  state_ = std::move(other.state_);
  activity_ = other.activity_;
  call_ = other.call_;
  return *this;
}

PendingCollective::~PendingCollective() { CheckNotPending(); }

void PendingCollective::Wait() {
  // Moved out first, so that an exception in Wait leaves nothing pending.
  const std::unique_ptr<State> state = std::move(state_);
  if (state == nullptr) return;
  RECORD_USER_SCOPE("communication: Wait");
  if (activity_ != nullptr) activity_->Enter(call_);
  state->Wait();
  if (activity_ != nullptr) activity_->Leave();
}

void PendingCollective::CheckNotPending() {
  if (state_ == nullptr) return;
  if (std::uncaught_exceptions() > 0) {
    // An exception is on its way to main, which ends all ranks and says why.
    // Until then the library below may still write to the tensors.
    static_cast<void>(state_.release());
    return;
  }
  AbortAllRanks(ExitCode::kCommunication,
                "a pending collective was dropped before Wait()");
}

Communicator::Communicator(int rank, int size, std::string axis,
                           at::Device device, GroupIdentity identity)
    : rank_(rank),
      size_(size),
      axis_(std::move(axis)),
      device_(device),
      identity_(std::move(identity)),
      group_(identity_.activity->AddGroup(identity_.id, axis_, rank)) {}

Communicator::~Communicator() { identity_.activity->RemoveGroup(group_); }

GroupIdentity Communicator::NextChild(int color) {
  const uint64_t family = MixBits(identity_.id + MixBits(++num_children_));
  // 0 stands for no group.
  return {identity_.activity, MixBits(family + color) | 1};
}

template <typename Start>
PendingCollective Communicator::Tracked(Operation operation, int64_t bytes,
                                        int from, Start start) {
  RECORD_USER_SCOPE(ScopeName(operation));
  call_ = activity().Begin(group_, operation, bytes, from);
  PendingCollective pending = start();
  activity().Leave();
  pending.activity_ = &activity();
  pending.call_ = call_;
  return pending;
}

void Communicator::CheckMovable(const at::Tensor& tensor,
                                const char* call) const {
  TORCH_CHECK(tensor.defined(), call, " on axis ", axis_, ": undefined tensor");
  TORCH_CHECK(tensor.is_contiguous(), call, " on axis ", axis_,
              ": tensor of shape ", tensor.sizes(), " is not contiguous");
  TORCH_CHECK(tensor.device().type() == device_.type(), call, " on axis ",
              axis_, ": tensor on ", tensor.device(), ", communicator on ",
              device_);
}

void Communicator::CheckReducible(const at::Tensor& tensor, ReduceOp op,
                                  const char* call) const {
  CheckMovable(tensor, call);
  const at::ScalarType dtype = tensor.scalar_type();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kDouble ||
                  dtype == at::kBFloat16 || dtype == at::kLong,
              call, " on axis ", axis_, ": cannot reduce ", dtype);
  TORCH_CHECK(op != ReduceOp::kAverage || dtype != at::kLong, call, " on axis ",
              axis_, ": cannot average ", dtype);
}

void Communicator::CheckParts(const at::Tensor& whole, const at::Tensor& part,
                              const char* call) const {
  CheckMovable(whole, call);
  CheckMovable(part, call);
  TORCH_CHECK(whole.scalar_type() == part.scalar_type() &&
                  whole.numel() == part.numel() * size_,
              call, " on axis ", axis_, ": ", whole.scalar_type(), " ",
              whole.sizes(), " is not ", size_, " parts of ",
              part.scalar_type(), " ", part.sizes());
}

PendingCollective Communicator::AllReduceAsync(const at::Tensor& tensor,
                                               ReduceOp op) {
  CheckReducible(tensor, op, "AllReduce");
  if (size_ == 1 || tensor.numel() == 0) return PendingCollective();
  return Tracked(Operation::kAllReduce, tensor.nbytes(), -1,
                 [&] { return StartAllReduce(tensor, op); });
}

PendingCollective Communicator::AllGatherAsync(const at::Tensor& out,
                                               const at::Tensor& in) {
  CheckParts(out, in, "AllGather");
  if (size_ == 1) out.view(-1).copy_(in.view(-1));
  if (size_ == 1 || in.numel() == 0) return PendingCollective();
  return Tracked(Operation::kAllGather, in.nbytes(), -1,
                 [&] { return StartAllGather(out, in); });
}

PendingCollective Communicator::ReduceScatterAsync(const at::Tensor& out,
                                                   const at::Tensor& in,
                                                   ReduceOp op) {
  CheckParts(in, out, "ReduceScatter");
  CheckReducible(in, op, "ReduceScatter");
  if (size_ == 1) out.view(-1).copy_(in.view(-1));
  if (size_ == 1 || out.numel() == 0) return PendingCollective();
  return Tracked(Operation::kReduceScatter, in.nbytes(), -1,
                 [&] { return StartReduceScatter(out, in, op); });
}

PendingCollective Communicator::SendReceiveAsync(const at::Tensor& send, int to,
                                                 const at::Tensor& receive,
                                                 int from) {
  const bool sends = send.defined() && to >= 0;
  const bool receives = receive.defined() && from >= 0;
  if (sends) CheckMovable(send, "SendReceive");
  if (receives) CheckMovable(receive, "SendReceive");
  TORCH_CHECK(to < size_ && from < size_, "SendReceive on axis ", axis_,
              ": to ", to, ", from ", from, " in a group of ", size_);
  if (sends) bytes_sent_ += static_cast<int64_t>(send.nbytes());
  if (!sends && !receives) return PendingCollective();
  const int64_t bytes = receives ? receive.nbytes() : send.nbytes();
  return Tracked(Operation::kSendReceive, bytes, receives ? from : -1, [&] {
    return StartSendReceive(sends ? send : at::Tensor(), to,
                            receives ? receive : at::Tensor(), from);
  });
}

void Communicator::AllReduce(const at::Tensor& tensor, ReduceOp op) {
  AllReduceAsync(tensor, op).Wait();
}

void Communicator::AllGather(const at::Tensor& out, const at::Tensor& in) {
  AllGatherAsync(out, in).Wait();
}

void Communicator::ReduceScatter(const at::Tensor& out, const at::Tensor& in,
                                 ReduceOp op) {
  ReduceScatterAsync(out, in, op).Wait();
}

void Communicator::SendReceive(const at::Tensor& send, int to,
                               const at::Tensor& receive, int from) {
  SendReceiveAsync(send, to, receive, from).Wait();
}

void Communicator::Broadcast(const at::Tensor& tensor, int root) {
  CheckMovable(tensor, "Broadcast");
  TORCH_CHECK(root >= 0 && root < size_, "Broadcast on axis ", axis_, ": root ",
              root, " in a group of ", size_);
  if (size_ == 1 || tensor.numel() == 0) return;
  RECORD_USER_SCOPE(ScopeName(Operation::kBroadcast));
  call_ = activity().Begin(group_, Operation::kBroadcast, tensor.nbytes());
  RunBroadcast(tensor, root);
  activity().Leave();
}

void Communicator::Barrier() {
  RECORD_USER_SCOPE(ScopeName(Operation::kBarrier));
  call_ = activity().Begin(group_, Operation::kBarrier, 0);
  RunBarrier();
  activity().Leave();
}

std::unique_ptr<Communicator> Communicator::Split(int color, int key,
                                                  std::string axis) {
  activity().Begin(group_, Operation::kSplit, 0);
  std::unique_ptr<Communicator> child =
      RunSplit(color, key, std::move(axis), NextChild(color));
  activity().Leave();
  return child;
}

}  // namespace lextra
