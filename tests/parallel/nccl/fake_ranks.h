// Ranks that are threads, each with a fake GPU (fake_gpu.h), and their world on
// fake NCCL.
#ifndef LEXTRA_TESTS_PARALLEL_NCCL_FAKE_RANKS_H_
#define LEXTRA_TESTS_PARALLEL_NCCL_FAKE_RANKS_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <functional>
#include <memory>

#include "parallel/communicator.h"
#include "tests/parallel/nccl/fake_gpu.h"

namespace lextra::testing {

struct Rank {
  Rank(FakeNetwork& network, std::shared_ptr<Meeting> meeting, int rank,
       int size);

  // Collective, and so not of the constructor.
  std::function<void()> set_up;

  // tensor, whose values the current stream computes after `work`.
  at::Tensor Computed(const at::Tensor& values, std::chrono::milliseconds work);
  // What the current stream finds in `tensor` when it comes to this call.
  at::Tensor Seen(const at::Tensor& tensor);

  std::shared_ptr<Activity> activity = std::make_shared<Activity>();
  FakeGpu gpu;
  std::shared_ptr<FakeNccl> nccl;
  std::unique_ptr<Communicator> world;
};

// test(rank) on `size` threads that have set up their world and finalize it.
void RunRanks(int size, const std::function<void(Rank&)>& test);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_PARALLEL_NCCL_FAKE_RANKS_H_
