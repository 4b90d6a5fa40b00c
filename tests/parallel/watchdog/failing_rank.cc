// A job that ends badly, for failing_rank_test and rank_death_test: one rank
// fails as the first argument says while the others wait for it. The second is
// the watchdog's timeout.
#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/failure.h"
#include "base/work_counter.h"
#include "launch/session_setup.h"

namespace lextra {
namespace {

using std::chrono::milliseconds;

constexpr int kSteps = 20;

// A training whose steps take `work(step)` and end with an all-reduce.
template <typename Work>
void Train(MpiSession& session, Communicator& world, Work work) {
  for (int step = 1; step <= kSteps; ++step) {
    session.activity().SetPhase(Phase::kTraining, step);
    std::this_thread::sleep_for(work(step));
    world.AllReduce(at::ones({100}), ReduceOp::kSum);
  }
}

// A GPU on which an all-reduce that `begun` tells does not end, or fails.
class StuckGpu : public AbortableGroup {
 public:
  std::optional<DeviceCall> OldestCall() override {
    return DeviceCall{begun, 1, 0.0};
  }
  std::optional<std::string> Error() override {
    if (!fails) return std::nullopt;
    return "NCCL: " + CallText(begun, "data") + ": remote error";
  }
  void Abort() override { std::fprintf(stderr, "aborted on the GPU\n"); }

  GroupCall begun;
  std::atomic<bool> fails = false;
};

// As in a call that waits for long work in front of it.
class BusyGpu : public StuckGpu, public DeviceWork {
 public:
  uint64_t NumDone() override {
    const std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start_;
    return static_cast<uint64_t>(10 * time.count());
  }

 private:
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
};

// Seven timeouts of work on GPUs, in which hosts wait and calls do not end.
void WorkOnGpu(MpiSession& session, Communicator& world) {
  Activity& activity = session.activity();
  const int group = activity.AddGroup(1000, "data", session.rank());
  const auto wait = [&] {
    BusyGpu gpu;
    gpu.begun = activity.Begin(group, Operation::kAllReduce, 400);
    activity.Leave();
    activity.in_flight_calls().Add(&gpu);
    activity.in_flight_calls().SetWork(&gpu);
    std::this_thread::sleep_for(milliseconds(7000));
    activity.in_flight_calls().SetWork(nullptr);
    activity.in_flight_calls().Remove(&gpu);
  };
  for (int step = 1; step <= 10; ++step) {
    activity.SetPhase(Phase::kTraining, step);
    std::this_thread::sleep_for(milliseconds(20));
    if (step == 8) wait();
    world.Barrier();
  }
}

// Hosts that run ahead of their GPUs: the last rank never starts its part of a
// collective, or its GPU says that a peer is lost.
void HangOnGpu(MpiSession& session, int64_t num_ranks, bool fails) {
  Activity& activity = session.activity();
  const int rank = session.rank();
  const bool last = rank == num_ranks - 1;
  const int group = activity.AddGroup(1000, "data", rank);
  // Steady steps, so that the timeout counts.
  for (int step = 1; step <= 10; ++step) {
    activity.SetPhase(Phase::kTraining, step);
    std::this_thread::sleep_for(milliseconds(20));
  }
  StuckGpu gpu;
  if (!last || fails) {
    gpu.begun = activity.Begin(group, Operation::kAllReduce, 400);
    activity.Leave();
    gpu.fails = fails && last;
    activity.in_flight_calls().Add(&gpu);
  }
  // All but the last one continue, like a host that waits for nothing.
  while (true) {
    if (!last) activity.Tick();
    std::this_thread::sleep_for(milliseconds(50));
  }
}

void Fail(const std::string& failure, MpiSession& session,
          Communicator& world) {
  const bool first = world.rank() == 0;
  const bool last = world.rank() == world.size() - 1;
  if (failure == "truncated") {
    // The message is longer than the place that is made for it.
    if (first) {
      world.SendReceive(at::zeros({100}), world.size() - 1, at::Tensor(), -1);
    } else if (last) {
      world.SendReceive(at::Tensor(), -1, at::zeros({50}), 0);
    }
  } else if (failure == "abort") {
    if (last) AbortAllRanks(ExitCode::kNumeric, "replicas differ");
  } else if (failure == "exception") {
    if (last) throw std::runtime_error("nothing catches this");
  } else if (failure == "bad_alloc") {
    if (last) std::vector<char>(std::numeric_limits<int64_t>::max() / 2);
  } else if (failure == "hang_first" || failure == "hang_last") {
    const bool hangs = failure == "hang_first" ? first : last;
    Train(session, world, [&](int step) {
      return hangs && step == 15 ? milliseconds(1000000) : milliseconds(20);
    });
  } else if (failure == "jitter") {
    // One rank after the other takes ten times as long now and then.
    Train(session, world, [&](int step) {
      const bool slow = step % 5 == 0 && step >= 10 &&
                        step / 5 % world.size() == world.rank();
      return milliseconds(slow ? 2000 : 200);
    });
  } else if (failure == "long_work") {
    // A step of seven timeouts, of which the watchdog sees only its pieces.
    Train(session, world, [&](int step) {
      for (int i = 0; step == 15 && last && i < 70; ++i) {
        std::this_thread::sleep_for(milliseconds(100));
        CountWork();
      }
      return milliseconds(20);
    });
  } else if (failure == "gpu_long_work") {
    WorkOnGpu(session, world);
  } else if (failure == "gpu_hang" || failure == "gpu_error") {
    HangOnGpu(session, world.size(), failure == "gpu_error");
  } else if (failure == "late") {
    // Ranks that come to the end at different times.
    std::this_thread::sleep_for(session.rank() * milliseconds(1500));
    return;
  } else {
    std::abort();
  }
  world.Barrier();
}

}  // namespace
}  // namespace lextra

int main(int argc, char** argv) {
  const std::string failure = argv[1];
  const double timeout_seconds = argc > 2 ? std::atof(argv[2]) : 0;
  lextra::Session session = {
      .mpi = lextra::MpiSession::Start(&argc, &argv).value(),
      .watchdog = nullptr};
  lextra::StartWatchdog(session, timeout_seconds);
  const auto world = session.mpi->World();
  lextra::Fail(failure, *session.mpi, *world);
  lextra::EndSession(session);
  return 0;
}
