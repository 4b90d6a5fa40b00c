// Points in the work that a rank gives to its GPU, so that the watchdog sees
// the GPU get on where minutes lie between two collectives.
#ifndef LEXTRA_PARALLEL_NCCL_GPU_MARKS_H_
#define LEXTRA_PARALLEL_NCCL_GPU_MARKS_H_

#include <deque>
#include <memory>
#include <mutex>

#include "parallel/activity/activity.h"
#include "parallel/nccl/gpu_streams.h"

namespace lextra {

class GpuMarks : public DeviceWork {
 public:
  // `activity` is told of them, for the life of this object.
  explicit GpuMarks(std::shared_ptr<Activity> activity);
  GpuMarks(const GpuMarks&) = delete;
  ~GpuMarks() override;

  // What the current stream has been given so far is a piece of work. Waits for
  // nothing. Where very many are ahead of the GPU, this one is left out.
  void Add(const std::shared_ptr<GpuStreams>& streams);

  uint64_t NumDone() override;

 private:
  struct Mark {
    std::shared_ptr<GpuStreams> streams;
    std::shared_ptr<GpuEvent> event;
  };

  void ForgetDone();  // under mutex_

  const std::shared_ptr<Activity> activity_;
  std::mutex mutex_;
  std::deque<Mark> marks_;
  uint64_t num_done_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_GPU_MARKS_H_
