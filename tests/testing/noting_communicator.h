// Passes calls on to another communicator and notes them.
#ifndef LEXTRA_TESTS_TESTING_NOTING_COMMUNICATOR_H_
#define LEXTRA_TESTS_TESTING_NOTING_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"

namespace lextra::testing {

class NotingCommunicator : public Communicator {
 public:
  explicit NotingCommunicator(Communicator& inner)
      : Communicator(inner.rank(), inner.size(), inner.axis(), at::kCPU,
                     inner.NextChild(0)),
        inner_(inner) {}

  // Elements of each all-reduce.
  const std::vector<int64_t>& sizes() const { return sizes_; }
  // What a ring of P ranks sends from each: a gather or a reduce-scatter every
  // part but one, an all-reduce both.
  int64_t ring_bytes() const { return ring_bytes_; }
  absl::Status Finalize() override { return absl::OkStatus(); }

 protected:
  PendingCollective StartAllReduce(const at::Tensor& tensor,
                                   ReduceOp op) override {
    sizes_.push_back(tensor.numel());
    ring_bytes_ += 2 * AllPartsButOne(tensor);
    return inner_.AllReduceAsync(tensor, op);
  }
  PendingCollective StartAllGather(const at::Tensor& out,
                                   const at::Tensor& in) override {
    ring_bytes_ += AllPartsButOne(out);
    return inner_.AllGatherAsync(out, in);
  }
  PendingCollective StartReduceScatter(const at::Tensor& out,
                                       const at::Tensor& in,
                                       ReduceOp op) override {
    ring_bytes_ += AllPartsButOne(in);
    return inner_.ReduceScatterAsync(out, in, op);
  }
  PendingCollective StartSendReceive(const at::Tensor& send, int to,
                                     const at::Tensor& receive,
                                     int from) override {
    return inner_.SendReceiveAsync(send, to, receive, from);
  }
  void RunBroadcast(const at::Tensor& tensor, int root) override {
    inner_.Broadcast(tensor, root);
  }
  void RunBarrier() override { inner_.Barrier(); }
  std::unique_ptr<Communicator> RunSplit(int color, int key, std::string axis,
                                         GroupIdentity) override {
    return inner_.Split(color, key, std::move(axis));
  }

 private:
  int64_t AllPartsButOne(const at::Tensor& whole) const {
    return static_cast<int64_t>(whole.nbytes()) * (size() - 1) / size();
  }

  Communicator& inner_;
  std::vector<int64_t> sizes_;
  int64_t ring_bytes_ = 0;
};

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_NOTING_COMMUNICATOR_H_
