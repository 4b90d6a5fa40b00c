// The streams that one NcclCommunicator works on: those of CUDA in the module
// lextra_cuda.so, worker threads in tests.
#ifndef LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_
#define LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_

#include <ATen/core/Tensor.h>

#include <memory>

#include "base/status.h"

namespace lextra {

using GpuStream = void*;  // cudaStream_t

// A point that a stream comes to. May be dropped by any thread at any time.
class GpuEvent {
 public:
  virtual ~GpuEvent() = default;
};

// No function waits for the device, Synchronize aside.
class GpuStreams {
 public:
  virtual ~GpuStreams() = default;

  // The calling thread's.
  virtual GpuStream Current() = 0;
  // Of the communicator alone.
  virtual GpuStream Own() = 0;

  // Comes when `stream` is through with all that was given to it so far.
  virtual std::shared_ptr<GpuEvent> Record(GpuStream stream) = 0;
  // The same, and notes the time when it comes.
  virtual std::shared_ptr<GpuEvent> RecordTimed(GpuStream stream) = 0;
  // Of two timed events that have come.
  virtual double MillisecondsBetween(const GpuEvent& begin,
                                     const GpuEvent& end) = 0;
  // What is given to `stream` from now on waits until `event` has come.
  virtual void MakeWait(GpuStream stream, const GpuEvent& event) = 0;
  // Any thread. An error is the device's: it works no more.
  virtual absl::StatusOr<bool> HasCome(const GpuEvent& event) = 0;
  // Blocks the host until `event` has come.
  virtual void Synchronize(const GpuEvent& event) = 0;

  // `in` as float, made on the own stream.
  virtual at::Tensor InFloat(const at::Tensor& in) = 0;
  // out <- in on `stream`, rounded to out's dtype.
  virtual void Copy(GpuStream stream, const at::Tensor& out,
                    const at::Tensor& in) = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_NCCL_GPU_STREAMS_H_
