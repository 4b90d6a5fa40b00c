// The waits of a rank's GPU for its collectives. Measures on request how long
// the GPU waited: exposed communication.
#ifndef LEXTRA_PARALLEL_NCCL_EXPOSED_COMMUNICATION_H_
#define LEXTRA_PARALLEL_NCCL_EXPOSED_COMMUNICATION_H_

#include <memory>
#include <vector>

#include "parallel/nccl/gpu_streams.h"

namespace lextra {

class ExposedCommunication {
 public:
  // Work enqueued on the current stream from now on waits for `done`.
  void MakeWait(std::shared_ptr<GpuStreams> streams, const GpuEvent& done);

  // How long the waits since the last call took. Nothing is measured before the
  // first call. Blocks the host until the last wait is over.
  double TakeMilliseconds();

 private:
  struct Wait {
    std::shared_ptr<GpuStreams> streams;
    std::shared_ptr<GpuEvent> begin;
    std::shared_ptr<GpuEvent> end;
  };

  bool measured_ = false;
  std::vector<Wait> waits_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_EXPOSED_COMMUNICATION_H_
