#include "parallel/mpi/mpi_communicator.h"

#include <ATen/ATen.h>
#include <mpi.h>

#include <algorithm>
#include <vector>

#include "parallel/mpi/mpi_check.h"

namespace lextra {

namespace {

// Reductions go in pieces of this many elements: Open MPI takes a temporary of
// the call's size from the allocator, and for large ones the page faults cost
// more than the reduction (two ranks on one host, 40 MB: 2 to 3 times).
constexpr int64_t kReductionPiece = 1 << 19;

MPI_Datatype DatatypeOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    default:
      return MPI_INT64_T;  // Communicator rejects other dtypes
  }
}

// Averages are sums, divided afterwards.
MPI_Op OpOf(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return MPI_MAX;
    case ReduceOp::kMin:
      return MPI_MIN;
    default:
      return MPI_SUM;
  }
}

// A block of `bytes` bytes; the next one begins `stride` bytes later.
class StridedBlock {
 public:
  StridedBlock(int64_t bytes, int64_t stride) {
    MPI_Datatype block;
    LEXTRA_CHECK_MPI(
        MPI_Type_contiguous(static_cast<int>(bytes), MPI_BYTE, &block));
    LEXTRA_CHECK_MPI(MPI_Type_create_resized(block, 0, stride, &type_));
    LEXTRA_CHECK_MPI(MPI_Type_commit(&type_));
    LEXTRA_CHECK_MPI(MPI_Type_free(&block));
  }
  StridedBlock(const StridedBlock&) = delete;
  ~StridedBlock() { MPI_Type_free(&type_); }

  MPI_Datatype type() const { return type_; }

 private:
  MPI_Datatype type_;
};

class PendingRequests : public PendingCollective::State {
 public:
  PendingRequests(std::vector<MPI_Request> requests, at::Tensor send,
                  at::Tensor receive)
      : requests_(std::move(requests)),
        send_(std::move(send)),
        receive_(std::move(receive)) {}

  void Wait() override {
    // One by one: MPI_Waitall would only report that one of them failed.
    for (MPI_Request& request : requests_) {
      LEXTRA_CHECK_MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    }
  }

 private:
  std::vector<MPI_Request> requests_;
  at::Tensor send_;
  at::Tensor receive_;
};

// The collectives are blocking calls that return complete: MPI_Iallreduce makes
// progress only inside MPI calls, so it overlaps no computation and is slower
// than MPI_Allreduce. Only SendReceive, whose messages are small and travel
// while the peers compute, leaves requests open.
class MpiCommunicator : public Communicator {
 public:
  // Takes ownership of `group`.
  MpiCommunicator(MPI_Comm group, int rank, int size, std::string axis,
                  GroupIdentity identity, int64_t max_count)
      : Communicator(rank, size, std::move(axis), at::kCPU,
                     std::move(identity)),
        group_(group),
        max_count_(max_count) {
    LEXTRA_CHECK_MPI(MPI_Comm_set_errhandler(group_, MPI_ERRORS_RETURN));
  }

  absl::Status Finalize() override {
    LEXTRA_CHECK_MPI(MPI_Comm_free(&group_));
    return absl::OkStatus();
  }

  static std::unique_ptr<Communicator> Wrap(MPI_Comm group, std::string axis,
                                            GroupIdentity identity,
                                            int64_t max_count) {
    int rank = 0;
    int size = 1;
    LEXTRA_CHECK_MPI(MPI_Comm_rank(group, &rank));
    LEXTRA_CHECK_MPI(MPI_Comm_size(group, &size));
    return std::make_unique<MpiCommunicator>(group, rank, size, std::move(axis),
                                             std::move(identity), max_count);
  }

 protected:
  PendingCollective StartAllReduce(const at::Tensor& tensor,
                                   ReduceOp op) override {
    if (tensor.scalar_type() == at::kBFloat16) {
      const at::Tensor wide = tensor.to(at::kFloat);
      AllReduce(wide, op);
      tensor.copy_(wide);
      return PendingCollective();
    }
    const MPI_Datatype type = DatatypeOf(tensor);
    char* data = static_cast<char*>(tensor.data_ptr());
    ForEachReduction(tensor.numel(), [&](int64_t begin, int count) {
      LEXTRA_CHECK_MPI(MPI_Allreduce(MPI_IN_PLACE,
                                     data + begin * tensor.element_size(),
                                     count, type, OpOf(op), group_));
    });
    if (op == ReduceOp::kAverage) tensor.div_(size());
    return PendingCollective();
  }

  PendingCollective StartAllGather(const at::Tensor& out,
                                   const at::Tensor& in) override {
    const int64_t bytes = static_cast<int64_t>(in.nbytes());
    const char* from = static_cast<const char*>(in.const_data_ptr());
    char* to = static_cast<char*>(out.data_ptr());
    const bool in_place = from == to + rank() * bytes;
    ForEachPiece(bytes, [&](int64_t begin, int count) {
      const StridedBlock piece(count, bytes);
      LEXTRA_CHECK_MPI(MPI_Allgather(in_place ? MPI_IN_PLACE : from + begin,
                                     count, MPI_BYTE, to + begin, 1,
                                     piece.type(), group_));
    });
    return PendingCollective();
  }

  PendingCollective StartReduceScatter(const at::Tensor& out,
                                       const at::Tensor& in,
                                       ReduceOp op) override {
    if (in.scalar_type() == at::kBFloat16) {
      const at::Tensor wide = out.to(at::kFloat);
      ReduceScatter(wide, in.to(at::kFloat), op);
      out.copy_(wide);
      return PendingCollective();
    }
    // One reduction per rank: MPI_Reduce_scatter_block can't take parts in
    // pieces, and takes several times as long.
    const MPI_Datatype type = DatatypeOf(in);
    const char* from = static_cast<const char*>(in.const_data_ptr());
    char* to = static_cast<char*>(out.data_ptr());
    for (int root = 0; root < size(); ++root) {
      ForEachReduction(out.numel(), [&](int64_t begin, int count) {
        const char* part =
            from + (root * out.numel() + begin) * in.element_size();
        char* sum = to + begin * in.element_size();
        const bool in_place = root == rank() && part == sum;
        LEXTRA_CHECK_MPI(MPI_Reduce(in_place ? MPI_IN_PLACE : part, sum, count,
                                    type, OpOf(op), root, group_));
      });
    }
    if (op == ReduceOp::kAverage) out.div_(size());
    return PendingCollective();
  }

  PendingCollective StartSendReceive(const at::Tensor& send, int to,
                                     const at::Tensor& receive,
                                     int from) override {
    // MPI keeps the order of messages between two ranks, so that pieces need no
    // numbers.
    constexpr int kTag = 0;
    std::vector<MPI_Request> requests;
    if (receive.defined()) {
      char* data = static_cast<char*>(receive.data_ptr());
      ForEachPiece(receive.nbytes(), [&](int64_t begin, int count) {
        LEXTRA_CHECK_MPI(MPI_Irecv(data + begin, count, MPI_BYTE, from, kTag,
                                   group_, &requests.emplace_back()));
      });
    }
    if (send.defined()) {
      const char* data = static_cast<const char*>(send.const_data_ptr());
      ForEachPiece(send.nbytes(), [&](int64_t begin, int count) {
        LEXTRA_CHECK_MPI(MPI_Isend(data + begin, count, MPI_BYTE, to, kTag,
                                   group_, &requests.emplace_back()));
      });
    }
    return PendingCollective(
        std::make_unique<PendingRequests>(std::move(requests), send, receive));
  }

  void RunBroadcast(const at::Tensor& tensor, int root) override {
    char* data = static_cast<char*>(tensor.data_ptr());
    ForEachPiece(tensor.nbytes(), [&](int64_t begin, int count) {
      LEXTRA_CHECK_MPI(MPI_Bcast(data + begin, count, MPI_BYTE, root, group_));
    });
  }

  void RunBarrier() override { LEXTRA_CHECK_MPI(MPI_Barrier(group_)); }

  std::unique_ptr<Communicator> RunSplit(int color, int key, std::string axis,
                                         GroupIdentity identity) override {
    MPI_Comm group;
    LEXTRA_CHECK_MPI(MPI_Comm_split(group_, color, key, &group));
    return Wrap(group, std::move(axis), std::move(identity), max_count_);
  }

 private:
  // call(begin, count) for consecutive pieces of [0, total) that MPI can count.
  template <typename Call>
  void ForEachPiece(int64_t total, Call call) const {
    ForEach(max_count_, total, call);
  }
  template <typename Call>
  void ForEachReduction(int64_t total, Call call) const {
    ForEach(std::min(max_count_, kReductionPiece), total, call);
  }
  template <typename Call>
  static void ForEach(int64_t piece, int64_t total, Call call) {
    for (int64_t begin = 0; begin < total; begin += piece) {
      call(begin, static_cast<int>(std::min(piece, total - begin)));
    }
  }

  MPI_Comm group_;
  int64_t max_count_;
};

}  // namespace

std::unique_ptr<Communicator> MakeMpiCommunicator(
    std::shared_ptr<Activity> activity, int64_t max_count) {
  TORCH_CHECK(max_count > 0 && max_count <= kMaxMpiCount, "MPI can't count to ",
              max_count);
  MPI_Comm group;
  LEXTRA_CHECK_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &group));
  const uint64_t id = activity->NextRootId();
  return MpiCommunicator::Wrap(group, "world", {std::move(activity), id},
                               max_count);
}

}  // namespace lextra
