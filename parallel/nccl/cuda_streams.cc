#include "parallel/nccl/cuda_streams.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <mutex>
#include <utility>
#include <vector>

namespace lextra {
namespace {

// Events not in use. Dropping one makes no CUDA call, so the watchdog's thread
// may do it.
class FreeEvents {
 public:
  explicit FreeEvents(unsigned flags) : flags_(flags) {}
  FreeEvents(const FreeEvents&) = delete;
  ~FreeEvents() {
    for (cudaEvent_t event : events_) {
      C10_CUDA_CHECK_WARN(cudaEventDestroy(event));
    }
  }

  // On the current device.
  cudaEvent_t Take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!events_.empty()) {
        cudaEvent_t event = events_.back();
        events_.pop_back();
        return event;
      }
    }
    cudaEvent_t event = nullptr;
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, flags_));
    return event;
  }

  void Give(cudaEvent_t event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(event);
  }

 private:
  const unsigned flags_;
  std::mutex mutex_;
  std::vector<cudaEvent_t> events_;
};

class CudaEvent : public GpuEvent {
 public:
  explicit CudaEvent(std::shared_ptr<FreeEvents> free)
      : free_(std::move(free)), event_(free_->Take()) {}
  ~CudaEvent() override { free_->Give(event_); }

  cudaEvent_t get() const { return event_; }

 private:
  const std::shared_ptr<FreeEvents> free_;
  const cudaEvent_t event_;
};

cudaEvent_t EventOf(const GpuEvent& event) {
  return static_cast<const CudaEvent&>(event).get();
}

cudaStream_t StreamOf(GpuStream stream) {
  return static_cast<cudaStream_t>(stream);
}

class CudaStreams : public GpuStreams {
 public:
  explicit CudaStreams(c10::DeviceIndex device)
      : device_(device),
        own_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device)) {}

  GpuStream Current() override {
    return c10::cuda::getCurrentCUDAStream(device_).stream();
  }
  GpuStream Own() override { return own_.stream(); }

  std::shared_ptr<GpuEvent> Record(GpuStream stream) override {
    return RecordOneOf(free_, stream);
  }

  std::shared_ptr<GpuEvent> RecordTimed(GpuStream stream) override {
    return RecordOneOf(free_timed_, stream);
  }

  double MillisecondsBetween(const GpuEvent& begin,
                             const GpuEvent& end) override {
    float milliseconds = 0;
    C10_CUDA_CHECK(
        cudaEventElapsedTime(&milliseconds, EventOf(begin), EventOf(end)));
    return milliseconds;
  }

  // The stream waits for the event as recorded now: recording it again does not
  // move the wait.
  void MakeWait(GpuStream stream, const GpuEvent& event) override {
    const c10::cuda::CUDAGuard guard(device_);
    C10_CUDA_CHECK(cudaStreamWaitEvent(StreamOf(stream), EventOf(event), 0));
  }

  absl::StatusOr<bool> HasCome(const GpuEvent& event) override {
    const cudaError_t error = cudaEventQuery(EventOf(event));
    if (error == cudaSuccess) return true;
    // Clears the thread's last error, which the query also set.
    static_cast<void>(cudaGetLastError());
    if (error == cudaErrorNotReady) return false;
    return CommunicationError(cudaGetErrorString(error));
  }

  void Synchronize(const GpuEvent& event) override {
    C10_CUDA_CHECK(cudaEventSynchronize(EventOf(event)));
  }

  // The memory belongs to the communicator's stream and is reused in its order.
  at::Tensor InFloat(const at::Tensor& in) override {
    const c10::cuda::CUDAStreamGuard guard(own_);
    return in.to(at::kFloat);
  }

  void Copy(GpuStream stream, const at::Tensor& out,
            const at::Tensor& in) override {
    const c10::cuda::CUDAStreamGuard guard(
        c10::cuda::getStreamFromExternal(StreamOf(stream), device_));
    out.copy_(in);
  }

 private:
  std::shared_ptr<GpuEvent> RecordOneOf(const std::shared_ptr<FreeEvents>& free,
                                        GpuStream stream) {
    const c10::cuda::CUDAGuard guard(device_);
    auto event = std::make_shared<CudaEvent>(free);
    C10_CUDA_CHECK(cudaEventRecord(event->get(), StreamOf(stream)));
    return event;
  }

  const c10::DeviceIndex device_;
  const c10::cuda::CUDAStream own_;
  const std::shared_ptr<FreeEvents> free_ =
      std::make_shared<FreeEvents>(cudaEventDisableTiming);
  const std::shared_ptr<FreeEvents> free_timed_ =
      std::make_shared<FreeEvents>(cudaEventDefault);
};

}  // namespace

std::shared_ptr<GpuStreams> MakeCudaStreams(int device_index) {
  return std::make_shared<CudaStreams>(
      static_cast<c10::DeviceIndex>(device_index));
}

}  // namespace lextra
