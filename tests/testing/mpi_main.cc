#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/testing/mpi_world.h"

namespace lextra::testing {
namespace {

MpiSession* session = nullptr;

// Ranks other than 0 print only what failed.
class FailuresOnly : public ::testing::EmptyTestEventListener {
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("[rank %d] %s:%d: %s\n", session->rank(),
                result.file_name() ? result.file_name() : "?",
                result.line_number(), result.message());
    std::fflush(stdout);
  }
};

}  // namespace

MpiSession& Session() { return *session; }

std::unique_ptr<DeviceMesh> MakeMesh(MeshShape shape) {
  return DeviceMesh::Create(Session().World(), shape).value();
}

int RunTests(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::unique_ptr<MpiSession> own = MpiSession::Start(&argc, &argv).value();
  session = own.get();
  at::set_num_threads(1);
  if (session->rank() != 0) {
    ::testing::TestEventListeners& listeners =
        ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int failed = RUN_ALL_TESTS();
  // A rank that failed returns at once: the others may wait for it in a
  // collective, and mpirun ends them.
  if (failed) return failed;
  session->Finalize();
  return 0;
}

}  // namespace lextra::testing

int main(int argc, char** argv) {
  return lextra::testing::RunTests(argc, argv);
}
