// MPI for the life of the process: initialized once in main, finalized in
// order. Without mpirun it is one rank.
#ifndef LEXTRA_PARALLEL_MPI_MPI_SESSION_H_
#define LEXTRA_PARALLEL_MPI_MPI_SESSION_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/activity/activity.h"
#include "parallel/communicator.h"

namespace lextra {

class MpiSession {
 public:
  // Initializes MPI, sets the log's identity (base/log.h) and makes MPI_Abort
  // the abort handler (base/failure.h).
  static absl::StatusOr<std::unique_ptr<MpiSession>> Start(int* argc,
                                                           char*** argv);
  MpiSession(const MpiSession&) = delete;
  // Does not finalize: after an error the other ranks may not join.
  ~MpiSession() = default;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // Rank and number of ranks on this host, from MPI_Comm_split_type:
  // environment variables are wrong under srun and in nested launches.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }

  // All ranks, on CPU tensors. A new communicator each call; collective.
  std::unique_ptr<Communicator> World();

  // The numbers of all ranks in rank order, without a tensor or a communicator.
  // Collective.
  std::vector<int> GatherNumbers(int mine) const;

  // What this rank is doing; every communicator made here reports to it.
  Activity& activity() { return *activity_; }
  const std::shared_ptr<Activity>& shared_activity() const { return activity_; }

  // Collective; afterwards no MPI communicator may be used.
  void Finalize();

 private:
  MpiSession() = default;

  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::string host_;
  std::shared_ptr<Activity> activity_ = std::make_shared<Activity>();
  // The thread that started the session does the rank's work.
  ScopedWorkCounter work_is_counted_{activity_->work()};
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_MPI_MPI_SESSION_H_
