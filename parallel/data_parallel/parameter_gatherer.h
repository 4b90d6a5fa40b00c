// All-gathers the parameters that each rank of the data axis has updated (ZeRO
// stage 1), in the compute dtype, overlapped with work that does not need them
// yet.
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

  // Collective, bucket by bucket in forward order; does nothing if one rank
  // owns everything.
  void Start();
  // Subsequent work sees the new values of these parameters.
  void WaitFor(const std::vector<Parameter*>& some);
  // Subsequent work sees all new values.
  void Finish();

 private:
  FlatParameters& parameters_;
  Communicator& data_axis_;
  // For each parameter, the buckets that contain a part of it.
  std::unordered_map<const Parameter*, std::vector<size_t>> buckets_of_;
  std::vector<PendingCollective> pending_;  // by bucket; empty when complete
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DATA_PARALLEL_PARAMETER_GATHERER_H_
