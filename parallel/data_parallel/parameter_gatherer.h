// Brings the parameters that each rank of the data axis has updated (ZeRO stage
// 1) to all of them, in the compute dtype, while what does not need them yet
// goes on.
#ifndef LEXTRA_PARALLEL_DATA_PARALLEL_PARAMETER_GATHERER_H_
#define LEXTRA_PARALLEL_DATA_PARALLEL_PARAMETER_GATHERER_H_

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/data_parallel/flat_parameters.h"

namespace lextra {

class ParameterGatherer {
 public:
  // Both arguments outlive this.
  ParameterGatherer(FlatParameters& parameters, Communicator& data_axis);
  ParameterGatherer(const ParameterGatherer&) = delete;
  ~ParameterGatherer() { Finish(); }

  // Collective, bucket by bucket in the order of the forward pass; nothing
  // where one rank owns everything.
  void Start();
  // What comes after it sees the values of these parameters.
  void WaitFor(const std::vector<Parameter*>& some);
  // What comes after it sees all values.
  void Finish();

 private:
  FlatParameters& parameters_;
  Communicator& data_axis_;
  // By parameter, the buckets that it has a part in.
  std::unordered_map<const Parameter*, std::vector<size_t>> buckets_of_;
  std::vector<PendingCollective> pending_;  // by bucket; empty when all came
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DATA_PARALLEL_PARAMETER_GATHERER_H_
