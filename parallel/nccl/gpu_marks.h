// Marks in the work that a rank enqueues on its GPU, so that the watchdog sees
// the GPU make progress when two collectives are minutes apart.
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
  // Reports them to `activity` for the life of this object.
  explicit GpuMarks(std::shared_ptr<Activity> activity);
  GpuMarks(const GpuMarks&) = delete;
  ~GpuMarks() override;

  // Marks what the current stream has been given so far as a piece of work.
  // Waits for nothing. Skipped if too many marks are ahead of the GPU.
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
