#include "tests/parallel/nccl/fake_ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "parallel/nccl/nccl_communicator.h"

namespace lextra::testing {

Rank::Rank(FakeNetwork& network, std::shared_ptr<Meeting> meeting, int rank,
           int size)
    : nccl(std::make_shared<FakeNccl>(network, gpu)) {
  set_up = [this, meeting = std::move(meeting), rank, size] {
    world = MakeNcclCommunicator(
        MakeThreadCommunicator(meeting, rank, size, "world (host)",
                               {activity, 1}),
        {.device = at::kCPU,
         .nccl = nccl,
         .make_streams = [this] { return gpu.MakeStreams(); }},
        "world", {activity, 2});
  };
}

at::Tensor Rank::Computed(const at::Tensor& values,
                          std::chrono::milliseconds work) {
  const at::Tensor tensor = gpu.Keep(at::full_like(values, 99));
  gpu.current().Enqueue([=] {
    std::this_thread::sleep_for(work);
    tensor.copy_(values);
  });
  return tensor;
}

at::Tensor Rank::Seen(const at::Tensor& tensor) {
  const at::Tensor seen = gpu.Keep(at::empty_like(tensor));
  gpu.current().Enqueue([=] { seen.copy_(tensor); });
  gpu.Synchronize();
  return seen;
}

void RunRanks(int size, const std::function<void(Rank&)>& test) {
  FakeNetwork network;
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(network, meeting, r, size);
      rank.set_up();
      test(rank);
      EXPECT_TRUE(rank.world->Finalize().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace lextra::testing
