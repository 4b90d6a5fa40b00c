// GPUs and NCCL without either: the ranks are threads of the test, a stream is
// a worker thread that does what it is given in order, and NCCL moves and
// reduces CPU tensors when the ranks' streams meet. Misuse that the real ones
// punish by a hang or a crash fails the test.
#ifndef LEXTRA_TESTS_PARALLEL_NCCL_FAKE_GPU_H_
#define LEXTRA_TESTS_PARALLEL_NCCL_FAKE_GPU_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/nccl/gpu_streams.h"
#include "parallel/nccl/nccl_library.h"
#include "tests/parallel/thread_communicator.h"

namespace lextra::testing {

class FakeStream {
 public:
  FakeStream();
  FakeStream(const FakeStream&) = delete;
  ~FakeStream();  // when it is through with everything

  void Enqueue(std::function<void()> work);

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::function<void()>> queue_;
  bool closing_ = false;
  std::thread thread_;
};

// One rank's.
class FakeGpu {
 public:
  // What the training computes on.
  FakeStream& current() { return current_; }
  // Host waits until the current stream is through with what it was given.
  void Synchronize();
  std::shared_ptr<GpuStreams> MakeStreams();

  // Memory that streams may still use.
  at::Tensor Keep(at::Tensor tensor);

  // Every collective takes so long before it begins.
  std::chrono::milliseconds delay{0};
  // Errors to be found: own streams do not wait for the current one, or the
  // current one not for them.
  bool forgets_ready = false;
  bool forgets_done = false;
  // What HasCome says of any event.
  std::atomic<bool> is_broken = false;

 private:
  FakeStream current_;
  std::mutex mutex_;
  std::vector<at::Tensor> kept_;
};

// What the FakeNccl of all ranks share.
class FakeNetwork {
 private:
  friend class FakeNccl;

  struct Clique {
    explicit Clique(int size) : meeting(size) {}

    Meeting meeting;
    std::atomic<int> num_joined = 0;
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::pair<int, int>, std::deque<std::string>> mail;
    bool closed = false;
  };

  std::mutex mutex_;
  uint64_t num_ids_ = 0;
  std::map<NcclId, std::shared_ptr<Clique>> cliques_;
};

// One rank's.
class FakeNccl : public NcclLibrary {
 public:
  FakeNccl(FakeNetwork& network, FakeGpu& gpu) : network_(network), gpu_(gpu) {}
  // Every communicator must be destroyed or aborted.
  ~FakeNccl() override;

  // The calls so far, in order, but a run of polls as one.
  std::vector<std::string> Calls();
  void ForgetCalls();

  // What the next call of that name returns, in place of doing it.
  void FailNext(const std::string& call, NcclResult result);
  // What a communicator's state is from now on.
  void SetAsyncError(NcclResult error) { async_error_ = error; }

  NcclResult GetUniqueId(NcclId* id) override;
  NcclResult CommInitRank(NcclHandle* handle, int size, const NcclId& id,
                          int rank) override;
  NcclResult CommGetAsyncError(NcclHandle handle, NcclResult* state) override;
  NcclResult CommFinalize(NcclHandle handle) override;
  NcclResult CommDestroy(NcclHandle handle) override;
  NcclResult CommAbort(NcclHandle handle) override;
  NcclResult GroupStart() override;
  NcclResult GroupEnd() override;
  NcclResult AllReduce(const void* in, void* out, size_t count, NcclType type,
                       ReduceOp op, NcclHandle handle,
                       GpuStream stream) override;
  NcclResult ReduceScatter(const void* in, void* out, size_t out_count,
                           NcclType type, ReduceOp op, NcclHandle handle,
                           GpuStream stream) override;
  NcclResult AllGather(const void* in, void* out, size_t in_count,
                       NcclType type, NcclHandle handle,
                       GpuStream stream) override;
  NcclResult Broadcast(const void* in, void* out, size_t count, NcclType type,
                       int root, NcclHandle handle, GpuStream stream) override;
  NcclResult Send(const void* in, size_t count, NcclType type, int to,
                  NcclHandle handle, GpuStream stream) override;
  NcclResult Receive(void* out, size_t count, NcclType type, int from,
                     NcclHandle handle, GpuStream stream) override;
  std::string ErrorText(NcclResult result, NcclHandle handle) override;

 private:
  using Clique = FakeNetwork::Clique;

  struct Comm {
    std::shared_ptr<Clique> clique;
    int rank = 0;
    int size = 0;
    std::atomic<int> num_under_way = 0;  // works on streams
    std::atomic<bool> is_inside = false;
    int polls_left = 0;  // until what was called is done
    bool finalized = false;
    bool ended = false;  // destroyed or aborted
    // Given to the stream when polls_left comes to 0.
    std::vector<std::pair<GpuStream, std::function<void()>>> launches;
  };
  // Of a group of calls.
  struct Part {
    Comm* comm;
    GpuStream stream;
    // One after the other for all parts: a whole collective or what is sent,
    // then what is received, then the wait for receivers.
    std::array<std::function<void()>, 3> phases;
  };

  // Around each call on a communicator.
  class Inside;

  NcclResult Record(const std::string& call);
  NcclResult Add(const std::string& call, Part part);
  NcclResult Reduce(const std::string& call, const void* in, void* out,
                    size_t in_count, size_t begin, size_t out_count,
                    NcclType type, ReduceOp op, NcclHandle handle,
                    GpuStream stream);

  FakeNetwork& network_;
  FakeGpu& gpu_;
  std::mutex mutex_;  // the calls
  std::vector<std::string> calls_;
  std::map<std::string, NcclResult> failures_;
  std::atomic<NcclResult> async_error_ = NcclResult::kSuccess;
  std::vector<std::unique_ptr<Comm>> comms_;
  bool in_group_ = false;
  std::vector<Part> parts_;
};

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_PARALLEL_NCCL_FAKE_GPU_H_
