#include "parallel/mpi/mpi_session.h"

#include <mpi.h>

#include "base/failure.h"
#include "base/host.h"
#include "base/log.h"
#include "base/memory.h"
#include "parallel/mpi/mpi_check.h"
#include "parallel/mpi/mpi_communicator.h"

namespace lextra {
namespace {

void AbortWorld(int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); }

}  // namespace

absl::StatusOr<std::unique_ptr<MpiSession>> MpiSession::Start(int* argc,
                                                              char*** argv) {
  KeepFreedMemory();
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided) !=
      MPI_SUCCESS) {
    return CommunicationError("MPI_Init_thread failed");
  }
  std::unique_ptr<MpiSession> session(new MpiSession);
  LEXTRA_CHECK_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  LEXTRA_CHECK_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &session->rank_));
  LEXTRA_CHECK_MPI(MPI_Comm_size(MPI_COMM_WORLD, &session->size_));
  session->host_ = HostName();
  SetLogIdentity(session->rank_, session->size_, session->host_);
  SetAbortHandler(AbortWorld);
  if (provided < MPI_THREAD_MULTIPLE) {
    return CommunicationError(
        "this MPI does not provide MPI_THREAD_MULTIPLE: use an Open MPI built "
        "with thread support");
  }

  MPI_Comm host;
  LEXTRA_CHECK_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED,
                                       session->rank_, MPI_INFO_NULL, &host));
  LEXTRA_CHECK_MPI(MPI_Comm_rank(host, &session->local_rank_));
  LEXTRA_CHECK_MPI(MPI_Comm_size(host, &session->local_size_));
  LEXTRA_CHECK_MPI(MPI_Comm_free(&host));
  return session;
}

std::unique_ptr<Communicator> MpiSession::World() {
  return MakeMpiCommunicator(activity_);
}

std::vector<int> MpiSession::GatherNumbers(int mine) const {
  std::vector<int> all(size_);
  LEXTRA_CHECK_MPI(
      MPI_Allgather(&mine, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD));
  return all;
}

void MpiSession::Finalize() { LEXTRA_CHECK_MPI(MPI_Finalize()); }

}  // namespace lextra
