#include "parallel/nccl/nccl_communicator.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "base/failure.h"
#include "parallel/nccl/nccl_group.h"

namespace lextra {
namespace {

NcclType TypeOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return NcclType::kFloat;
    case at::kDouble:
      return NcclType::kDouble;
    default:
      return NcclType::kInt64;  // Communicator rejects other dtypes
  }
}

// In flight on the own stream until `done` completes.
class PendingOnStream : public PendingCollective::State {
 public:
  PendingOnStream(std::shared_ptr<ExposedCommunication> waits,
                  std::shared_ptr<GpuStreams> streams,
                  std::shared_ptr<GpuEvent> done,
                  std::vector<at::Tensor> tensors)
      : waits_(std::move(waits)),
        streams_(std::move(streams)),
        done_(std::move(done)),
        tensors_(std::move(tensors)) {}

  void Wait() override { waits_->MakeWait(streams_, *done_); }

 private:
  std::shared_ptr<ExposedCommunication> waits_;
  std::shared_ptr<GpuStreams> streams_;
  std::shared_ptr<GpuEvent> done_;
  // Their memory is not reused before the current stream waits.
  std::vector<at::Tensor> tensors_;
};

// Broadcasts rank 0's id to all ranks of `host`.
NcclId ShareId(Communicator& host, NcclLibrary& nccl) {
  NcclId id = {};
  if (host.rank() == 0) {
    const NcclResult result = nccl.GetUniqueId(&id);
    if (result != NcclResult::kSuccess) {
      AbortAllRanks(ExitCode::kCommunication,
                    "NCCL: ncclGetUniqueId on axis " + host.axis() + ": " +
                        nccl.ErrorText(result, nullptr));
    }
  }
  host.Broadcast(
      at::from_blob(id.data(), {static_cast<int64_t>(id.size())}, at::kByte),
      0);
  return id;
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, GpuBackend backend,
                   std::string axis, GroupIdentity identity)
      : Communicator(host->rank(), host->size(), std::move(axis),
                     backend.device, identity),
        host_(std::move(host)),
        backend_(std::move(backend)),
        streams_(backend_.make_streams()) {
    if (size() == 1) return;
    const NcclId id = ShareId(*host_, *backend_.nccl);
    group_ =
        std::make_unique<NcclGroup>(backend_.nccl, streams_, identity.activity,
                                    this->axis(), size(), id, rank());
  }

  absl::Status Finalize() override {
    if (group_ != nullptr) group_->Finalize();
    return host_->Finalize();
  }

  void MarkWork() override {
    CountWork();
    backend_.marks->Add(streams_);
  }

  double TakeExposedMilliseconds() override {
    return backend_.waits->TakeMilliseconds();
  }

 protected:
  PendingCollective StartAllReduce(const at::Tensor& tensor,
                                   ReduceOp op) override {
    StartOwnStream();
    const at::Tensor wide = Wide(tensor);
    Run([&](NcclHandle handle) {
      return backend_.nccl->AllReduce(wide.const_data_ptr(), wide.data_ptr(),
                                      wide.numel(), TypeOf(wide), op, handle,
                                      streams_->Own());
    });
    if (!wide.is_same(tensor)) streams_->Copy(streams_->Own(), tensor, wide);
    return Pending({tensor, wide});
  }

  PendingCollective StartAllGather(const at::Tensor& out,
                                   const at::Tensor& in) override {
    StartOwnStream();
    Run([&](NcclHandle handle) {
      return backend_.nccl->AllGather(in.const_data_ptr(), out.data_ptr(),
                                      in.nbytes(), NcclType::kByte, handle,
                                      streams_->Own());
    });
    return Pending({out, in});
  }

  PendingCollective StartReduceScatter(const at::Tensor& out,
                                       const at::Tensor& in,
                                       ReduceOp op) override {
    StartOwnStream();
    const at::Tensor wide = Wide(in);
    // NCCL can write this rank's part in place in the input.
    const at::Tensor part =
        wide.is_same(in)
            ? out
            : wide.view(-1).narrow(0, rank() * out.numel(), out.numel());
    Run([&](NcclHandle handle) {
      return backend_.nccl->ReduceScatter(
          wide.const_data_ptr(), part.data_ptr(), part.numel(), TypeOf(wide),
          op, handle, streams_->Own());
    });
    if (!part.is_same(out)) {
      streams_->Copy(streams_->Own(), out, part.view(out.sizes()));
    }
    return Pending({out, in, wide});
  }

  // The two halves are one group of calls, so that in a ring they don't wait
  // for each other.
  PendingCollective StartSendReceive(const at::Tensor& send, int to,
                                     const at::Tensor& receive,
                                     int from) override {
    if (group_ == nullptr) {
      TORCH_CHECK(send.defined() && receive.defined(), "SendReceive on axis ",
                  axis(), ": a rank alone must both send and receive");
      streams_->Copy(streams_->Current(), receive, send);
      return PendingCollective();
    }
    StartOwnStream();
    Run([&](NcclHandle handle) {
      NcclResult result = NcclResult::kSuccess;
      if (send.defined()) {
        result =
            backend_.nccl->Send(send.const_data_ptr(), send.nbytes(),
                                NcclType::kByte, to, handle, streams_->Own());
      }
      if (receive.defined() && result == NcclResult::kSuccess) {
        result = backend_.nccl->Receive(receive.data_ptr(), receive.nbytes(),
                                        NcclType::kByte, from, handle,
                                        streams_->Own());
      }
      return result;
    });
    return Pending({send, receive});
  }

  void RunBroadcast(const at::Tensor& tensor, int root) override {
    StartOwnStream();
    Run([&](NcclHandle handle) {
      return backend_.nccl->Broadcast(
          tensor.const_data_ptr(), tensor.data_ptr(), tensor.nbytes(),
          NcclType::kByte, root, handle, streams_->Own());
    });
    Pending({tensor}).Wait();
  }

  // The host waits: first for its own GPU, then for the other hosts.
  void RunBarrier() override {
    streams_->Synchronize(*streams_->Record(streams_->Current()));
    host_->Barrier();
  }

  std::unique_ptr<Communicator> RunSplit(int color, int key, std::string axis,
                                         GroupIdentity identity) override {
    return std::make_unique<NcclCommunicator>(
        host_->Split(color, key, axis + " (host)"), backend_, axis,
        std::move(identity));
  }

 private:
  void StartOwnStream() {
    streams_->MakeWait(streams_->Own(), *streams_->Record(streams_->Current()));
  }

  // bfloat16 is summed in fp32.
  at::Tensor Wide(const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kBFloat16 ? streams_->InFloat(tensor)
                                                 : tensor;
  }

  void Run(const std::function<NcclResult(NcclHandle)>& issue) {
    group_->Run(call(), issue);
  }

  PendingCollective Pending(std::vector<at::Tensor> tensors) {
    std::shared_ptr<GpuEvent> done = streams_->Record(streams_->Own());
    group_->Watch(call(), done);
    return PendingCollective(std::make_unique<PendingOnStream>(
        backend_.waits, streams_, std::move(done), std::move(tensors)));
  }

  std::unique_ptr<Communicator> host_;
  GpuBackend backend_;
  std::shared_ptr<GpuStreams> streams_;
  std::unique_ptr<NcclGroup> group_;  // null in a group of one
};

}  // namespace

std::unique_ptr<Communicator> MakeNcclCommunicator(
    std::unique_ptr<Communicator> host, GpuBackend backend, std::string axis,
    GroupIdentity identity) {
  if (backend.marks == nullptr) {
    backend.marks = std::make_shared<GpuMarks>(identity.activity);
  }
  return std::make_unique<NcclCommunicator>(std::move(host), std::move(backend),
                                            std::move(axis),
                                            std::move(identity));
}

}  // namespace lextra
