// Brings the parameters that each rank of the data axis has updated (ZeRO stage
// 1) to all of them, in the compute dtype.
#ifndef LEXTRA_PARALLEL_PARAMETER_GATHERER_H_
#define LEXTRA_PARALLEL_PARAMETER_GATHERER_H_

#include <vector>

#include "parallel/communicator.h"
#include "parallel/flat_parameters.h"

namespace lextra {

class ParameterGatherer {
 public:
  // Both arguments outlive this.
  ParameterGatherer(FlatParameters& parameters, Communicator& data_axis)
      : parameters_(parameters), data_axis_(data_axis) {}
  ParameterGatherer(const ParameterGatherer&) = delete;

  // Collective, bucket by bucket in the order of the forward pass; nothing
  // where one rank owns everything.
  void Start();
  // What comes after it sees all values.
  void Finish();

 private:
  FlatParameters& parameters_;
  Communicator& data_axis_;
  std::vector<PendingCollective> pending_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_PARAMETER_GATHERER_H_
