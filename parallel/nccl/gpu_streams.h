// The streams of one NcclCommunicator: CUDA's in the module lextra_cuda.so,
// worker threads in tests.
#ifndef LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_
#define LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_

#include <ATen/core/Tensor.h>

#include <memory>

#include "base/status.h"

namespace lextra {

using GpuStream = void*;  // cudaStream_t

// A point in a stream. May be dropped by any thread at any time.
class GpuEvent {
 public:
  virtual ~GpuEvent() = default;
};

// No function waits for the device, except Synchronize.
class GpuStreams {
 public:
  virtual ~GpuStreams() = default;

  // The calling thread's current stream.
  virtual GpuStream Current() = 0;
  // The communicator's own stream.
  virtual GpuStream Own() = 0;

  // Completes when `stream` has finished all work given to it so far.
  virtual std::shared_ptr<GpuEvent> Record(GpuStream stream) = 0;
  // The same, and records the time of completion.
  virtual std::shared_ptr<GpuEvent> RecordTimed(GpuStream stream) = 0;
  // Of two completed timed events.
  virtual double MillisecondsBetween(const GpuEvent& begin,
                                     const GpuEvent& end) = 0;
  // Work given to `stream` from now on waits for `event`.
  virtual void MakeWait(GpuStream stream, const GpuEvent& event) = 0;
  // From any thread. An error is the device's: it is unusable.
  virtual absl::StatusOr<bool> HasCome(const GpuEvent& event) = 0;
  // Blocks the host until `event` has completed.
  virtual void Synchronize(const GpuEvent& event) = 0;

  // `in` as float, converted on the communicator's own stream.
  virtual at::Tensor InFloat(const at::Tensor& in) = 0;
  // out <- in on `stream`, rounded to out's dtype.
  virtual void Copy(GpuStream stream, const at::Tensor& out,
                    const at::Tensor& in) = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_
