// One group of ranks and its collectives.
//
// A Communicator is an argument, never a global. Every rank of the group makes
// the same calls in the same order with the same shapes. Counts come from the
// tensors, in elements; any count works (backends split what exceeds their
// limit). An error of the underlying library ends all ranks (base/failure.h):
// there is no state to return to. A caller's mistake (shape, dtype, device) is
// a TORCH_CHECK.
//
// Reductions take float, double, bfloat16 (added in fp32, rounded once) and
// int64; moves take any dtype. Tensors are contiguous.
#ifndef LEXTRA_PARALLEL_COMMUNICATOR_H_
#define LEXTRA_PARALLEL_COMMUNICATOR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/work_counter.h"
#include "parallel/activity/activity.h"

namespace lextra {

enum class ReduceOp { kSum, kMax, kMin, kAverage };

// A collective in flight. It keeps its tensors alive. Wait() makes subsequent
// work wait for it (the host on CPUs, the current stream on GPUs). Dropping it
// before Wait() ends all ranks: its result would be read too early.
class [[nodiscard]] PendingCollective {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void Wait() = 0;
  };

  PendingCollective() = default;  // already complete
  explicit PendingCollective(std::unique_ptr<State> state);
  PendingCollective(PendingCollective&&) = default;
  PendingCollective& operator=(PendingCollective&& other);
  ~PendingCollective();

  void Wait();

 private:
  friend class Communicator;
  void CheckNotPending();

  std::unique_ptr<State> state_;
  // What Wait() reports to the rank's Activity; null if there is none.
  Activity* activity_ = nullptr;
  GroupCall call_;
};

class Communicator {
 public:
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator();

  int rank() const { return rank_; }
  int size() const { return size_; }
  // "world", "data", "context" or "tensor": the name of this group in messages.
  const std::string& axis() const { return axis_; }
  // Device of its tensors.
  at::Device device() const { return device_; }
  // Bytes this rank has handed to SendReceive so far.
  int64_t bytes_sent() const { return bytes_sent_; }
  // What this rank is doing: every call below is reported to it.
  Activity& activity() const { return *identity_.activity; }

  // tensor <- op over the ranks, in place. Free in a group of one.
  void AllReduce(const at::Tensor& tensor, ReduceOp op);
  // out [size * n, ...] <- the ranks' in [n, ...], in rank order. `in` may be
  // this rank's part of `out`.
  void AllGather(const at::Tensor& out, const at::Tensor& in);
  // out [n, ...] <- this rank's part of op over the ranks' in [size * n, ...].
  // `out` may be this rank's part of `in`, whose other parts are unchanged.
  void ReduceScatter(const at::Tensor& out, const at::Tensor& in, ReduceOp op);
  // Sends `send` to rank `to` while receiving `receive` from rank `from`. An
  // undefined tensor or rank -1 skips that half.
  void SendReceive(const at::Tensor& send, int to, const at::Tensor& receive,
                   int from);
  // tensor <- rank root's.
  void Broadcast(const at::Tensor& tensor, int root);

  // The same, still in flight when the call returns if the backend supports it.
  PendingCollective AllReduceAsync(const at::Tensor& tensor, ReduceOp op);
  PendingCollective AllGatherAsync(const at::Tensor& out, const at::Tensor& in);
  PendingCollective ReduceScatterAsync(const at::Tensor& out,
                                       const at::Tensor& in, ReduceOp op);
  PendingCollective SendReceiveAsync(const at::Tensor& send, int to,
                                     const at::Tensor& receive, int from);

  // Returns when all ranks have called it.
  void Barrier();

  // The ranks with the same `color` form a group, ordered by `key`. Collective.
  std::unique_ptr<Communicator> Split(int color, int key, std::string axis);

  // For a group split from this one; every rank of this one calls it alike.
  GroupIdentity NextChild(int color);

  // Marks a piece of work of this rank as done (base/work_counter.h). On a GPU,
  // which the host runs ahead of, the mark is enqueued and counts when the
  // device reaches it.
  virtual void MarkWork() { CountWork(); }

  // Milliseconds since the previous call that this rank's GPU stream spent
  // waiting for collectives, over all groups. The first call starts the
  // measurement and returns 0. Synchronizes with the last wait. Always 0 on a
  // CPU: there the host waits, which a profile shows.
  virtual double TakeExposedMilliseconds() { return 0; }

  // Orderly shutdown; collective. The destructor never runs a collective.
  virtual absl::Status Finalize() = 0;

 protected:
  Communicator(int rank, int size, std::string axis, at::Device device,
               GroupIdentity identity);

  // The call being started.
  const GroupCall& call() const { return call_; }

  // Implemented by backends. Arguments are checked and groups have several
  // ranks (except in StartSendReceive, where a rank may send to itself).
  virtual PendingCollective StartAllReduce(const at::Tensor& tensor,
                                           ReduceOp op) = 0;
  virtual PendingCollective StartAllGather(const at::Tensor& out,
                                           const at::Tensor& in) = 0;
  virtual PendingCollective StartReduceScatter(const at::Tensor& out,
                                               const at::Tensor& in,
                                               ReduceOp op) = 0;
  // Undefined tensors skip their half.
  virtual PendingCollective StartSendReceive(const at::Tensor& send, int to,
                                             const at::Tensor& receive,
                                             int from) = 0;
  virtual void RunBroadcast(const at::Tensor& tensor, int root) = 0;
  virtual void RunBarrier() = 0;
  virtual std::unique_ptr<Communicator> RunSplit(int color, int key,
                                                 std::string axis,
                                                 GroupIdentity identity) = 0;

 private:
  // start(), between Begin and Leave of the Activity.
  template <typename Start>
  PendingCollective Tracked(Operation operation, int64_t bytes, int from,
                            Start start);

  void CheckMovable(const at::Tensor& tensor, const char* call) const;
  void CheckReducible(const at::Tensor& tensor, ReduceOp op,
                      const char* call) const;
  void CheckParts(const at::Tensor& whole, const at::Tensor& part,
                  const char* call) const;

  int rank_;
  int size_;
  std::string axis_;
  at::Device device_;
  int64_t bytes_sent_ = 0;
  GroupIdentity identity_;
  int group_;  // in the Activity
  GroupCall call_;
  uint64_t num_children_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_COMMUNICATOR_H_
