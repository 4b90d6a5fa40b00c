// Ranks that are threads of one process: where they meet, and a Communicator of
// CPU tensors among them.
#ifndef LEXTRA_TESTS_PARALLEL_THREAD_COMMUNICATOR_H_
#define LEXTRA_TESTS_PARALLEL_THREAD_COMMUNICATOR_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel/communicator.h"

namespace lextra::testing {

// Where the ranks of one group meet again and again.
class Meeting {
 public:
  using Items = std::vector<const void*>;

  explicit Meeting(int size) : items_(size) {}

  // Brings `mine`, calls `read` with what all brought, and returns when all
  // have read. False, without that, once the meeting is closed.
  bool Meet(int rank, const void* mine,
            const std::function<void(const Items&)>& read);
  void Close();

 private:
  bool Barrier();

  std::mutex mutex_;
  std::condition_variable changed_;
  Items items_;
  int num_waiting_ = 0;
  uint64_t round_ = 0;
  bool closed_ = false;
};

// op over `parts`, which are alike.
at::Tensor ReduceAll(const std::vector<at::Tensor>& parts, ReduceOp op);

std::unique_ptr<Communicator> MakeThreadCommunicator(
    std::shared_ptr<Meeting> meeting, int rank, int size, std::string axis,
    GroupIdentity identity);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_PARALLEL_THREAD_COMMUNICATOR_H_
