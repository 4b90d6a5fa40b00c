#include "parallel/data_parallel/parameter_gatherer.h"

#include <ATen/ATen.h>

namespace lextra {

ParameterGatherer::ParameterGatherer(FlatParameters& parameters,
                                     Communicator& data_axis)
    : parameters_(parameters), data_axis_(data_axis) {
  if (parameters.num_owners() == 1) return;
  const std::vector<FlatParameters::Bucket>& buckets = parameters.buckets();
  for (const FlatParameters::Slot& slot : parameters.slots()) {
    for (size_t bucket = 0; bucket < buckets.size(); ++bucket) {
      if (Overlap(buckets[bucket], slot)) {
        buckets_of_[slot.parameter].push_back(bucket);
      }
    }
  }
}

void ParameterGatherer::Start() {
  if (parameters_.num_owners() == 1) return;
  Finish();
  const at::Tensor& values = parameters_.values();
  const std::vector<FlatParameters::Bucket>& buckets = parameters_.buckets();
  pending_.resize(buckets.size());
  for (size_t i = buckets.size(); i-- > 0;) {
    pending_[i] = data_axis_.AllGatherAsync(
        values.narrow(0, buckets[i].begin, buckets[i].size),
        parameters_.OwnPart(values, buckets[i]));
  }
}

void ParameterGatherer::WaitFor(const std::vector<Parameter*>& some) {
  if (pending_.empty()) return;
  for (const Parameter* parameter : some) {
    for (const size_t bucket : buckets_of_.at(parameter)) {
      pending_[bucket].Wait();
    }
  }
}

void ParameterGatherer::Finish() {
  for (PendingCollective& pending : pending_) pending.Wait();
  pending_.clear();
}

}  // namespace lextra
