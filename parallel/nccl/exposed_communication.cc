#include "parallel/nccl/exposed_communication.h"

#include <utility>

namespace lextra {

void ExposedCommunication::MakeWait(std::shared_ptr<GpuStreams> streams,
                                    const GpuEvent& done) {
  const GpuStream current = streams->Current();
  if (!measured_) return streams->MakeWait(current, done);
  std::shared_ptr<GpuEvent> begin = streams->RecordTimed(current);
  streams->MakeWait(current, done);
  std::shared_ptr<GpuEvent> end = streams->RecordTimed(current);
  waits_.push_back({std::move(streams), std::move(begin), std::move(end)});
}

double ExposedCommunication::TakeMilliseconds() {
  measured_ = true;
  double sum = 0;
  for (const Wait& wait : waits_) {
    wait.streams->Synchronize(*wait.end);
    sum += wait.streams->MillisecondsBetween(*wait.begin, *wait.end);
  }
  waits_.clear();
  return sum;
}

}  // namespace lextra
