// What needs a GPU. Elsewhere these tests are skipped, with the reason.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "parallel/cuda_backend.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

TEST(NcclCommunicator, MovesAndReducesExactlyOnTheFirstGpu) {
  const std::unique_ptr<Communicator> world = testing::Session().World();
  absl::StatusOr<std::unique_ptr<Communicator>> gpu =
      MakeCudaCommunicator(*world, 0);
  if (!gpu.ok()) GTEST_SKIP() << std::string(gpu.status().message());
  const at::Tensor values = at::arange(1000, at::kFloat);
  const at::Tensor tensor = values.to(at::kCUDA);
  (*gpu)->AllReduce(tensor, ReduceOp::kSum);
  EXPECT_TRUE(at::equal(tensor.cpu(), values * (*gpu)->size()));
  EXPECT_TRUE((*gpu)->Finalize().ok());
}

}  // namespace
}  // namespace lextra
