// The ranks of a test that runs under mpirun. Linked with mpi_main.cc, which
// starts MPI, runs the tests on all ranks alike and fails if any rank failed.
#ifndef LEXTRA_TESTS_TESTING_MPI_WORLD_H_
#define LEXTRA_TESTS_TESTING_MPI_WORLD_H_

#include <memory>

#include "parallel/communicator.h"
#include "parallel/device_mesh.h"
#include "parallel/mpi/mpi_session.h"

namespace lextra::testing {

MpiSession& Session();

// A new mesh over all ranks of the test. The shape must multiply to their
// number.
std::unique_ptr<DeviceMesh> MakeMesh(MeshShape shape);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_MPI_WORLD_H_
