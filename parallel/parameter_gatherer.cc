#include "parallel/parameter_gatherer.h"

#include <ATen/ATen.h>

namespace lextra {

void ParameterGatherer::Start() {
  if (parameters_.num_owners() == 1) return;
  const at::Tensor& values = parameters_.values();
  const std::vector<FlatParameters::Bucket>& buckets = parameters_.buckets();
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    pending_.push_back(
        data_axis_.AllGatherAsync(values.narrow(0, bucket->begin, bucket->size),
                                  parameters_.OwnPart(values, *bucket)));
  }
}

void ParameterGatherer::Finish() {
  for (PendingCollective& pending : pending_) pending.Wait();
  pending_.clear();
}

}  // namespace lextra
