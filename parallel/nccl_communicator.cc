// The Communicator of GPU tensors. Built into the module lextra_cuda.so.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/failure.h"
#include "parallel/agreement.h"
#include "parallel/cuda_backend.h"

namespace lextra {
namespace {

#define LEXTRA_CHECK_NCCL(communicator, expression) \
  CheckNccl(communicator, (expression), #expression, __FILE__, __LINE__)

// Communicators don't block: a call may go on after it returned. Waits until
// the call is done; an error ends all ranks.
void CheckNccl(ncclComm_t communicator, ncclResult_t result,
               const char* expression, const char* file, int line) {
  while (result == ncclInProgress) {
    std::this_thread::yield();
    const ncclResult_t asked = ncclCommGetAsyncError(communicator, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return;
  AbortAllRanks(ExitCode::kCommunication,
                absl::StrFormat("%s:%d: %s: %s (%s)", file, line, expression,
                                ncclGetErrorString(result),
                                ncclGetLastError(communicator)));
}

ncclDataType_t DatatypeOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat;
    case at::kDouble:
      return ncclDouble;
    default:
      return ncclInt64;  // Communicator lets no other dtype through
  }
}

ncclRedOp_t OpOf(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return ncclMax;
    case ReduceOp::kMin:
      return ncclMin;
    case ReduceOp::kAverage:
      return ncclAvg;
    default:
      return ncclSum;
  }
}

// Done when the event has come on the communicator's stream. The current stream
// then waits for it, the host does not.
class PendingOnStream : public PendingCollective::State {
 public:
  PendingOnStream(at::cuda::CUDAEvent done, std::vector<at::Tensor> tensors)
      : done_(std::move(done)), tensors_(std::move(tensors)) {}

  void Wait() override {
    done_.block(c10::cuda::getCurrentCUDAStream(done_.device_index()));
  }

 private:
  at::cuda::CUDAEvent done_;
  // Their memory is not given to others before the current stream has waited.
  std::vector<at::Tensor> tensors_;
};

// A reduction made in fp32, to be rounded once to bfloat16.
class PendingRounding : public PendingCollective::State {
 public:
  PendingRounding(PendingCollective pending, at::Tensor wide, at::Tensor out)
      : pending_(std::move(pending)),
        wide_(std::move(wide)),
        out_(std::move(out)) {}

  void Wait() override {
    pending_.Wait();
    out_.copy_(wide_);
  }

 private:
  PendingCollective pending_;
  at::Tensor wide_;
  at::Tensor out_;
};

// Collectives run on a stream of the communicator's own, in the order of the
// calls: each starts when the current stream has come to where it was called.
class NcclCommunicator : public Communicator {
 public:
  // Takes `group`, which is ready for use.
  NcclCommunicator(ncclComm_t group, int rank, int size, std::string axis,
                   at::Device device, GroupIdentity identity)
      : Communicator(rank, size, std::move(axis), device, std::move(identity)),
        group_(group),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true,
                                             device.index())) {}

  absl::Status Finalize() override {
    const c10::cuda::CUDAGuard guard(device());
    LEXTRA_CHECK_NCCL(group_, ncclCommFinalize(group_));
    LEXTRA_CHECK_NCCL(group_, ncclCommDestroy(group_));
    group_ = nullptr;
    return absl::OkStatus();
  }

  // Waits until `group` is ready.
  static std::unique_ptr<Communicator> Wrap(ncclComm_t group, std::string axis,
                                            at::Device device,
                                            GroupIdentity identity) {
    const ncclResult_t starting = ncclInProgress;
    LEXTRA_CHECK_NCCL(group, starting);
    int rank = 0;
    int size = 1;
    LEXTRA_CHECK_NCCL(group, ncclCommUserRank(group, &rank));
    LEXTRA_CHECK_NCCL(group, ncclCommCount(group, &size));
    return std::make_unique<NcclCommunicator>(
        group, rank, size, std::move(axis), device, std::move(identity));
  }

 protected:
  PendingCollective StartAllReduce(const at::Tensor& tensor,
                                   ReduceOp op) override {
    if (tensor.scalar_type() == at::kBFloat16) {
      const at::Tensor wide = tensor.to(at::kFloat);
      return RoundLater(StartAllReduce(wide, op), wide, tensor);
    }
    return Run({tensor}, [&] {
      LEXTRA_CHECK_NCCL(
          group_, ncclAllReduce(tensor.const_data_ptr(), tensor.data_ptr(),
                                tensor.numel(), DatatypeOf(tensor), OpOf(op),
                                group_, stream_.stream()));
    });
  }

  PendingCollective StartAllGather(const at::Tensor& out,
                                   const at::Tensor& in) override {
    return Run({out, in}, [&] {
      LEXTRA_CHECK_NCCL(
          group_,
          ncclAllGather(in.const_data_ptr(), out.data_ptr(), in.nbytes(),
                        ncclInt8, group_, stream_.stream()));
    });
  }

  PendingCollective StartReduceScatter(const at::Tensor& out,
                                       const at::Tensor& in,
                                       ReduceOp op) override {
    if (in.scalar_type() == at::kBFloat16) {
      const at::Tensor wide = at::empty_like(out, at::kFloat);
      return RoundLater(StartReduceScatter(wide, in.to(at::kFloat), op), wide,
                        out);
    }
    return Run({out, in}, [&] {
      LEXTRA_CHECK_NCCL(group_,
                        ncclReduceScatter(in.const_data_ptr(), out.data_ptr(),
                                          out.numel(), DatatypeOf(in), OpOf(op),
                                          group_, stream_.stream()));
    });
  }

  // One group, so that the two halves of a ring don't wait for each other.
  PendingCollective StartSendReceive(const at::Tensor& send, int to,
                                     const at::Tensor& receive,
                                     int from) override {
    return Run({send, receive}, [&] {
      LEXTRA_CHECK_NCCL(group_, ncclGroupStart());
      if (send.defined()) {
        LEXTRA_CHECK_NCCL(
            group_, ncclSend(send.const_data_ptr(), send.nbytes(), ncclInt8, to,
                             group_, stream_.stream()));
      }
      if (receive.defined()) {
        LEXTRA_CHECK_NCCL(
            group_, ncclRecv(receive.data_ptr(), receive.nbytes(), ncclInt8,
                             from, group_, stream_.stream()));
      }
      LEXTRA_CHECK_NCCL(group_, ncclGroupEnd());
    });
  }

  void RunBroadcast(const at::Tensor& tensor, int root) override {
    Run({tensor}, [&] {
      LEXTRA_CHECK_NCCL(
          group_, ncclBroadcast(tensor.const_data_ptr(), tensor.data_ptr(),
                                tensor.nbytes(), ncclInt8, root, group_,
                                stream_.stream()));
    }).Wait();
  }

  void RunBarrier() override {
    const at::Tensor one =
        at::zeros({1}, at::TensorOptions(at::kFloat).device(device()));
    StartAllReduce(one, ReduceOp::kSum).Wait();
    c10::cuda::getCurrentCUDAStream(device().index()).synchronize();
  }

  std::unique_ptr<Communicator> RunSplit(int color, int key, std::string axis,
                                         GroupIdentity identity) override {
    const c10::cuda::CUDAGuard guard(device());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t group = nullptr;
    LEXTRA_CHECK_NCCL(group_,
                      ncclCommSplit(group_, color, key, &group, &config));
    return Wrap(group, std::move(axis), device(), std::move(identity));
  }

 private:
  template <typename Calls>
  PendingCollective Run(std::vector<at::Tensor> tensors, Calls calls) {
    const c10::cuda::CUDAGuard guard(device());
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device().index()));
    ready.block(stream_);
    calls();
    at::cuda::CUDAEvent done;
    done.record(stream_);
    return PendingCollective(
        std::make_unique<PendingOnStream>(std::move(done), std::move(tensors)));
  }

  static PendingCollective RoundLater(PendingCollective pending,
                                      const at::Tensor& wide,
                                      const at::Tensor& out) {
    return PendingCollective(
        std::make_unique<PendingRounding>(std::move(pending), wide, out));
  }

  ncclComm_t group_;
  c10::cuda::CUDAStream stream_;
};

absl::Status CheckDevice(int device_index) {
  const int count = c10::cuda::device_count();
  if (device_index >= 0 && device_index < count) return absl::OkStatus();
  return UsageError(absl::StrFormat(
      "GPU %d is asked for, but this host has %d usable GPU(s): start at most "
      "one rank for each GPU",
      device_index, count));
}

absl::StatusOr<std::unique_ptr<Communicator>> Make(Communicator& world,
                                                   int device_index) {
  LEXTRA_RETURN_IF_ERROR(AgreeOnStatus(world, CheckDevice(device_index)));
  const at::Device device(at::kCUDA,
                          static_cast<c10::DeviceIndex>(device_index));
  c10::cuda::set_device(device.index());

  ncclUniqueId id;
  if (world.rank() == 0) LEXTRA_CHECK_NCCL(nullptr, ncclGetUniqueId(&id));
  world.Broadcast(at::from_blob(&id, {sizeof(id)}, at::kByte), 0);

  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t group = nullptr;
  const ncclResult_t started =
      ncclCommInitRankConfig(&group, world.size(), id, world.rank(), &config);
  LEXTRA_CHECK_NCCL(group, started);
  return NcclCommunicator::Wrap(group, "world", device, world.NextChild(0));
}

}  // namespace
}  // namespace lextra

extern "C" void LextraMakeCudaCommunicator(
    lextra::Communicator& world, int device_index,
    absl::StatusOr<std::unique_ptr<lextra::Communicator>>& result) {
  result = lextra::Make(world, device_index);
}
