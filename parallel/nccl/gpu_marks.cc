#include "parallel/nccl/gpu_marks.h"

#include <utility>

namespace lextra {
namespace {

// Enough for a step of a hundred layers and many micro batches.
constexpr size_t kMostMarks = size_t{1} << 14;

}  // namespace

GpuMarks::GpuMarks(std::shared_ptr<Activity> activity)
    : activity_(std::move(activity)) {
  activity_->in_flight_calls().SetWork(this);
}

GpuMarks::~GpuMarks() { activity_->in_flight_calls().SetWork(nullptr); }

void GpuMarks::Add(const std::shared_ptr<GpuStreams>& streams) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ForgetDone();
  if (marks_.size() >= kMostMarks) return;
  marks_.push_back({streams, streams->Record(streams->Current())});
}

uint64_t GpuMarks::NumDone() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ForgetDone();
  return num_done_;
}

// A device error ends the rank elsewhere: here it counts as no progress.
void GpuMarks::ForgetDone() {
  while (
      !marks_.empty() &&
      marks_.front().streams->HasCome(*marks_.front().event).value_or(false)) {
    marks_.pop_front();
    ++num_done_;
  }
}

}  // namespace lextra
