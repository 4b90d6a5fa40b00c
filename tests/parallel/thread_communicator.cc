#include "tests/parallel/thread_communicator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace lextra::testing {
namespace {

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank, int size,
                     std::string axis, GroupIdentity identity)
      : Communicator(rank, size, std::move(axis), at::kCPU,
                     std::move(identity)),
        meeting_(std::move(meeting)) {}

  absl::Status Finalize() override { return absl::OkStatus(); }

 protected:
  PendingCollective StartAllReduce(const at::Tensor& tensor,
                                   ReduceOp op) override {
    at::Tensor result;
    Meet(tensor, [&](const std::vector<at::Tensor>& all) {
      result = ReduceAll(all, op);
    });
    tensor.copy_(result);
    return PendingCollective();
  }

  PendingCollective StartAllGather(const at::Tensor& out,
                                   const at::Tensor& in) override {
    Meet(in, [&](const std::vector<at::Tensor>& all) {
      out.view(-1).copy_(at::stack(all).view(-1));
    });
    return PendingCollective();
  }

  void RunBroadcast(const at::Tensor& tensor, int root) override {
    Meet(tensor, [&](const std::vector<at::Tensor>& all) {
      if (rank() != root) tensor.copy_(all[root]);
    });
  }

  void RunBarrier() override {
    meeting_->Meet(rank(), nullptr, [](const auto&) {});
  }

  std::unique_ptr<Communicator> RunSplit(int color, int key, std::string axis,
                                         GroupIdentity identity) override {
    struct Wish {
      int color, key, rank;
    };
    const Wish mine = {color, key, rank()};
    std::vector<Wish> members;
    meeting_->Meet(rank(), &mine, [&](const Meeting::Items& all) {
      for (const void* item : all) {
        const Wish& wish = *static_cast<const Wish*>(item);
        if (wish.color == color) members.push_back(wish);
      }
    });
    std::stable_sort(
        members.begin(), members.end(),
        [](const Wish& a, const Wish& b) { return a.key < b.key; });
    // The first one's meeting is the group's.
    std::shared_ptr<Meeting> meeting =
        std::make_shared<Meeting>(static_cast<int>(members.size()));
    const std::shared_ptr<Meeting> own = meeting;
    meeting_->Meet(rank(), &own, [&](const Meeting::Items& all) {
      meeting = *static_cast<const std::shared_ptr<Meeting>*>(
          all[members.front().rank]);
    });
    const auto me =
        std::find_if(members.begin(), members.end(),
                     [&](const Wish& w) { return w.rank == rank(); });
    return MakeThreadCommunicator(
        std::move(meeting), static_cast<int>(me - members.begin()),
        static_cast<int>(members.size()), std::move(axis), std::move(identity));
  }

  // Not needed: NCCL's ids and the agreement of ranks do without.
  PendingCollective StartReduceScatter(const at::Tensor&, const at::Tensor&,
                                       ReduceOp) override {
    TORCH_CHECK(false, "threads don't scatter");
  }
  PendingCollective StartSendReceive(const at::Tensor&, int, const at::Tensor&,
                                     int) override {
    TORCH_CHECK(false, "threads don't send");
  }

 private:
  template <typename Read>
  void Meet(const at::Tensor& mine, Read read) {
    meeting_->Meet(rank(), &mine, [&](const Meeting::Items& items) {
      std::vector<at::Tensor> all;
      for (const void* item : items) {
        all.push_back(*static_cast<const at::Tensor*>(item));
      }
      read(all);
    });
  }

  std::shared_ptr<Meeting> meeting_;
};

}  // namespace

bool Meeting::Meet(int rank, const void* mine,
                   const std::function<void(const Items&)>& read) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    items_[rank] = mine;
  }
  if (!Barrier()) return false;
  read(items_);
  return Barrier();
}

bool Meeting::Barrier() {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t round = round_;
  if (++num_waiting_ == static_cast<int>(items_.size())) {
    num_waiting_ = 0;
    ++round_;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return round_ != round || closed_; });
  return !closed_;
}

void Meeting::Close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

at::Tensor ReduceAll(const std::vector<at::Tensor>& parts, ReduceOp op) {
  const at::Tensor all = at::stack(parts);
  switch (op) {
    case ReduceOp::kMax:
      return all.amax(0);
    case ReduceOp::kMin:
      return all.amin(0);
    case ReduceOp::kAverage:
      return all.sum(0).div_(static_cast<double>(parts.size()));
    case ReduceOp::kSum:
      break;
  }
  return all.sum(0);
}

std::unique_ptr<Communicator> MakeThreadCommunicator(
    std::shared_ptr<Meeting> meeting, int rank, int size, std::string axis,
    GroupIdentity identity) {
  return std::make_unique<ThreadCommunicator>(
      std::move(meeting), rank, size, std::move(axis), std::move(identity));
}

}  // namespace lextra::testing
