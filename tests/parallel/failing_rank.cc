// A job that ends badly, for failing_rank_test: the last rank fails as its
// argument says while the others wait for it.
#include <ATen/ATen.h>

#include <string_view>

#include "base/failure.h"
#include "parallel/mpi_session.h"

int main(int argc, char** argv) {
  const std::string_view failure = argv[1];
  auto session = lextra::MpiSession::Start(&argc, &argv).value();
  const auto world = session->World();
  const int last = world->size() - 1;
  if (failure == "truncated") {
    // The message is longer than the place that is made for it.
    if (world->rank() == 0) {
      world->SendReceive(at::zeros({100}), last, at::Tensor(), -1);
    } else if (world->rank() == last) {
      world->SendReceive(at::Tensor(), -1, at::zeros({50}), 0);
    }
  } else if (world->rank() == last) {
    lextra::AbortAllRanks(lextra::ExitCode::kNumeric, "replicas differ");
  }
  world->Barrier();
  session->Finalize();
  return 0;
}
