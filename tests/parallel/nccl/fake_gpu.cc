#include "tests/parallel/nccl/fake_gpu.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace lextra::testing {
namespace {

constexpr int kPolls = 3;
constexpr auto kDeadlock = std::chrono::seconds(10);

class FakeEvent : public GpuEvent {
 public:
  void Come() {
    const std::lock_guard<std::mutex> lock(mutex_);
    has_come_ = true;
    time_ = std::chrono::steady_clock::now();
    came_.notify_all();
  }
  void Await() {
    std::unique_lock<std::mutex> lock(mutex_);
    came_.wait(lock, [this] { return has_come_; });
  }
  bool HasCome() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return has_come_;
  }
  std::chrono::steady_clock::time_point Time() {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_TRUE(has_come_) << "the time of an event that has not come";
    return time_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  bool has_come_ = false;
  std::chrono::steady_clock::time_point time_;
};

// Streams hold on to it, as they do to a real one that is destroyed.
class EventHandle : public GpuEvent {
 public:
  const std::shared_ptr<FakeEvent> state = std::make_shared<FakeEvent>();
};

const std::shared_ptr<FakeEvent>& StateOf(const GpuEvent& event) {
  return static_cast<const EventHandle&>(event).state;
}

class FakeStreams : public GpuStreams {
 public:
  explicit FakeStreams(FakeGpu& gpu) : gpu_(gpu) {}

  GpuStream Current() override { return &gpu_.current(); }
  GpuStream Own() override { return &own_; }

  std::shared_ptr<GpuEvent> Record(GpuStream stream) override {
    auto event = std::make_shared<EventHandle>();
    Enqueue(stream, [state = event->state] { state->Come(); });
    return event;
  }

  std::shared_ptr<GpuEvent> RecordTimed(GpuStream stream) override {
    return Record(stream);
  }

  double MillisecondsBetween(const GpuEvent& begin,
                             const GpuEvent& end) override {
    return std::chrono::duration<double, std::milli>(StateOf(end)->Time() -
                                                     StateOf(begin)->Time())
        .count();
  }

  void MakeWait(GpuStream stream, const GpuEvent& event) override {
    if (stream == Own() ? gpu_.forgets_ready : gpu_.forgets_done) return;
    Enqueue(stream, [state = StateOf(event)] { state->Await(); });
  }

  absl::StatusOr<bool> HasCome(const GpuEvent& event) override {
    if (gpu_.is_broken) return CommunicationError("illegal memory access");
    return StateOf(event)->HasCome();
  }

  void Synchronize(const GpuEvent& event) override { StateOf(event)->Await(); }

  at::Tensor InFloat(const at::Tensor& in) override {
    const at::Tensor out = gpu_.Keep(at::empty(in.sizes(), at::kFloat));
    Copy(Own(), out, in);
    return out;
  }

  void Copy(GpuStream stream, const at::Tensor& out,
            const at::Tensor& in) override {
    Enqueue(stream, [out, in] { out.copy_(in); });
  }

 private:
  static void Enqueue(GpuStream stream, std::function<void()> work) {
    static_cast<FakeStream*>(stream)->Enqueue(std::move(work));
  }

  FakeGpu& gpu_;
  FakeStream own_;
};

at::ScalarType DtypeOf(NcclType type) {
  switch (type) {
    case NcclType::kByte:
      return at::kByte;
    case NcclType::kFloat:
      return at::kFloat;
    case NcclType::kDouble:
      return at::kDouble;
    case NcclType::kInt64:
      break;
  }
  return at::kLong;
}

at::Tensor View(const void* data, size_t count, at::ScalarType dtype) {
  return at::from_blob(const_cast<void*>(data), {static_cast<int64_t>(count)},
                       dtype);
}

void Write(const at::Tensor& values, void* out) {
  const at::Tensor packed = values.contiguous();
  std::memcpy(out, packed.const_data_ptr(), packed.nbytes());
}

}  // namespace

FakeStream::FakeStream() : thread_([this] { Work(); }) {}

FakeStream::~FakeStream() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  came_.notify_one();
  thread_.join();
}

void FakeStream::Enqueue(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(work));
  }
  came_.notify_one();
}

void FakeStream::Work() {
  while (true) {
    std::function<void()> work;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      came_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

void FakeGpu::Synchronize() {
  const auto event = std::make_shared<FakeEvent>();
  current_.Enqueue([event] { event->Come(); });
  event->Await();
}

std::shared_ptr<GpuStreams> FakeGpu::MakeStreams() {
  return std::make_shared<FakeStreams>(*this);
}

at::Tensor FakeGpu::Keep(at::Tensor tensor) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return kept_.emplace_back(std::move(tensor));
}

class FakeNccl::Inside {
 public:
  explicit Inside(NcclHandle handle) : comm_(static_cast<Comm*>(handle)) {
    EXPECT_NE(comm_, nullptr);
    EXPECT_FALSE(comm_->ended) << "a communicator that was ended is called";
    EXPECT_FALSE(comm_->is_inside.exchange(true)) << "two threads in calls";
  }
  ~Inside() { comm_->is_inside = false; }
  Comm* operator->() const { return comm_; }

 private:
  Comm* comm_;
};

FakeNccl::~FakeNccl() {
  EXPECT_FALSE(in_group_) << "GroupStart without GroupEnd";
  for (const auto& comm : comms_) {
    EXPECT_TRUE(comm->ended) << "neither destroyed nor aborted";
    while (comm->num_under_way > 0) std::this_thread::yield();
  }
}

std::vector<std::string> FakeNccl::Calls() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return calls_;
}

void FakeNccl::ForgetCalls() {
  const std::lock_guard<std::mutex> lock(mutex_);
  calls_.clear();
}

void FakeNccl::FailNext(const std::string& call, NcclResult result) {
  const std::lock_guard<std::mutex> lock(mutex_);
  failures_[call] = result;
}

NcclResult FakeNccl::Record(const std::string& call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool polls_again =
      call == "poll" && !calls_.empty() && calls_.back() == call;
  if (!polls_again) calls_.push_back(call);
  const auto failure = failures_.find(call);
  if (failure == failures_.end()) return NcclResult::kSuccess;
  const NcclResult result = failure->second;
  failures_.erase(failure);
  return result;
}

NcclResult FakeNccl::GetUniqueId(NcclId* id) {
  const std::lock_guard<std::mutex> lock(network_.mutex_);
  *id = {};
  const uint64_t number = ++network_.num_ids_;
  std::memcpy(id->data(), &number, sizeof(number));
  return Record("GetUniqueId");
}

NcclResult FakeNccl::CommInitRank(NcclHandle* handle, int size,
                                  const NcclId& id, int rank) {
  auto comm = std::make_unique<Comm>();
  {
    const std::lock_guard<std::mutex> lock(network_.mutex_);
    std::shared_ptr<Clique>& clique = network_.cliques_[id];
    if (clique == nullptr) clique = std::make_shared<Clique>(size);
    comm->clique = clique;
  }
  comm->rank = rank;
  comm->size = size;
  comm->polls_left = kPolls;
  ++comm->clique->num_joined;
  *handle = comm.get();
  comms_.push_back(std::move(comm));
  const NcclResult result = Record("CommInitRank");
  return result == NcclResult::kSuccess ? NcclResult::kInProgress : result;
}

NcclResult FakeNccl::CommGetAsyncError(NcclHandle handle, NcclResult* state) {
  const Inside comm(handle);
  const NcclResult result = Record("poll");
  *state = async_error_;
  if (result != NcclResult::kSuccess || *state != NcclResult::kSuccess) {
    return result;
  }
  *state = NcclResult::kInProgress;
  if (comm->polls_left > 0 && --comm->polls_left > 0) return result;
  if (comm->clique->num_joined < comm->size) return result;
  if (comm->finalized && comm->num_under_way > 0) return result;
  for (auto& [stream, work] : comm->launches) {
    static_cast<FakeStream*>(stream)->Enqueue(std::move(work));
  }
  comm->launches.clear();
  *state = NcclResult::kSuccess;
  return result;
}

NcclResult FakeNccl::CommFinalize(NcclHandle handle) {
  const Inside comm(handle);
  comm->finalized = true;
  comm->polls_left = kPolls;
  const NcclResult result = Record("CommFinalize");
  return result == NcclResult::kSuccess ? NcclResult::kInProgress : result;
}

NcclResult FakeNccl::CommDestroy(NcclHandle handle) {
  const Inside comm(handle);
  EXPECT_TRUE(comm->finalized && comm->polls_left == 0 &&
              comm->num_under_way == 0)
      << "destroyed before it was finalized";
  comm->ended = true;
  return Record("CommDestroy");
}

NcclResult FakeNccl::CommAbort(NcclHandle handle) {
  const Inside comm(handle);
  comm->ended = true;
  comm->num_under_way -= static_cast<int>(comm->launches.size());
  comm->launches.clear();
  comm->clique->meeting.Close();
  const std::lock_guard<std::mutex> lock(comm->clique->mutex);
  comm->clique->closed = true;
  comm->clique->changed.notify_all();
  return Record("CommAbort");
}

NcclResult FakeNccl::GroupStart() {
  EXPECT_FALSE(std::exchange(in_group_, true));
  return Record("GroupStart");
}

NcclResult FakeNccl::GroupEnd() {
  EXPECT_TRUE(std::exchange(in_group_, false));
  const NcclResult result = Record("GroupEnd");
  const std::vector<Part> parts = std::exchange(parts_, {});
  if (parts.empty() || result != NcclResult::kSuccess) return result;
  Comm* const comm = parts.front().comm;
  const Inside inside(comm);
  EXPECT_EQ(comm->polls_left, 0) << "called before the last call was done";
  ++comm->num_under_way;
  comm->polls_left = kPolls;
  comm->launches.emplace_back(
      parts.front().stream, [comm, parts, delay = gpu_.delay] {
        std::this_thread::sleep_for(delay);
        for (size_t phase = 0; phase < parts.front().phases.size(); ++phase) {
          for (const Part& part : parts) {
            if (part.phases[phase]) part.phases[phase]();
          }
        }
        --comm->num_under_way;
      });
  return NcclResult::kInProgress;
}

NcclResult FakeNccl::Add(const std::string& call, Part part) {
  EXPECT_TRUE(in_group_) << call << " outside of a group";
  const Inside inside(part.comm);
  const NcclResult result = Record(call);
  if (result == NcclResult::kSuccess) {
    parts_.push_back(std::move(part));
  } else {
    parts_.clear();
    FailNext("GroupEnd", result);
  }
  return result;
}

NcclResult FakeNccl::Reduce(const std::string& call, const void* in, void* out,
                            size_t in_count, size_t begin, size_t out_count,
                            NcclType type, ReduceOp op, NcclHandle handle,
                            GpuStream stream) {
  Comm* const comm = static_cast<Comm*>(handle);
  const auto work = [=] {
    at::Tensor result;
    const bool met = comm->clique->meeting.Meet(
        comm->rank, in, [&](const Meeting::Items& items) {
          std::vector<at::Tensor> all;
          for (const void* item : items) {
            all.push_back(View(item, in_count, DtypeOf(type)));
          }
          result = ReduceAll(all, op).narrow(0, begin, out_count);
        });
    if (met) Write(result, out);
  };
  return Add(call, {comm, stream, {work}});
}

NcclResult FakeNccl::AllReduce(const void* in, void* out, size_t count,
                               NcclType type, ReduceOp op, NcclHandle handle,
                               GpuStream stream) {
  return Reduce("AllReduce", in, out, count, 0, count, type, op, handle,
                stream);
}

NcclResult FakeNccl::ReduceScatter(const void* in, void* out, size_t out_count,
                                   NcclType type, ReduceOp op,
                                   NcclHandle handle, GpuStream stream) {
  const Comm& comm = *static_cast<Comm*>(handle);
  return Reduce("ReduceScatter", in, out, comm.size * out_count,
                comm.rank * out_count, out_count, type, op, handle, stream);
}

NcclResult FakeNccl::AllGather(const void* in, void* out, size_t in_count,
                               NcclType type, NcclHandle handle,
                               GpuStream stream) {
  Comm* const comm = static_cast<Comm*>(handle);
  const auto work = [=] {
    std::vector<at::Tensor> all;
    const bool met = comm->clique->meeting.Meet(
        comm->rank, in, [&](const Meeting::Items& items) {
          for (const void* item : items) {
            all.push_back(View(item, in_count, DtypeOf(type)).clone());
          }
        });
    if (met) Write(at::stack(all), out);
  };
  return Add("AllGather", {comm, stream, {work}});
}

NcclResult FakeNccl::Broadcast(const void* in, void* out, size_t count,
                               NcclType type, int root, NcclHandle handle,
                               GpuStream stream) {
  Comm* const comm = static_cast<Comm*>(handle);
  const auto work = [=] {
    at::Tensor sent;
    const bool met = comm->clique->meeting.Meet(
        comm->rank, in, [&](const Meeting::Items& items) {
          sent = View(items[root], count, DtypeOf(type)).clone();
        });
    if (met) Write(sent, out);
  };
  return Add("Broadcast", {comm, stream, {work}});
}

// As the real one, not through before the receiver has taken it.
NcclResult FakeNccl::Send(const void* in, size_t count, NcclType /*bytes*/,
                          int to, NcclHandle handle, GpuStream stream) {
  Comm* const comm = static_cast<Comm*>(handle);
  Clique* const clique = comm->clique.get();
  const std::pair<int, int> way = {comm->rank, to};
  const auto post = [=] {
    const std::lock_guard<std::mutex> lock(clique->mutex);
    clique->mail[way].emplace_back(static_cast<const char*>(in), count);
    clique->changed.notify_all();
  };
  const auto wait = [=] {
    std::unique_lock<std::mutex> lock(clique->mutex);
    EXPECT_TRUE(clique->changed.wait_for(lock, kDeadlock, [&] {
      return clique->closed || clique->mail[way].empty();
    })) << "no rank receives";
  };
  return Add("Send", {comm, stream, {post, nullptr, wait}});
}

NcclResult FakeNccl::Receive(void* out, size_t count, NcclType /*bytes*/,
                             int from, NcclHandle handle, GpuStream stream) {
  Comm* const comm = static_cast<Comm*>(handle);
  Clique* const clique = comm->clique.get();
  const std::pair<int, int> way = {from, comm->rank};
  const auto take = [=] {
    std::unique_lock<std::mutex> lock(clique->mutex);
    EXPECT_TRUE(clique->changed.wait_for(lock, kDeadlock, [&] {
      return clique->closed || !clique->mail[way].empty();
    })) << "no rank sends";
    if (clique->mail[way].empty()) return;
    const std::string bytes = std::move(clique->mail[way].front());
    clique->mail[way].pop_front();
    clique->changed.notify_all();
    EXPECT_EQ(bytes.size(), count);
    std::memcpy(out, bytes.data(), count);
  };
  return Add("Receive", {comm, stream, {nullptr, take}});
}

std::string FakeNccl::ErrorText(NcclResult result, NcclHandle /*handle*/) {
  return "error " + std::to_string(static_cast<int>(result));
}

}  // namespace lextra::testing
