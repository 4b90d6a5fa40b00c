// Sums the gradients over the data axis, bucket by bucket, as the backward pass
// completes them. If each rank owns a part of the buckets (ZeRO stage 1), it
// gets only the sums of that part.
#ifndef LEXTRA_PARALLEL_DATA_PARALLEL_GRADIENT_REDUCER_H_
#define LEXTRA_PARALLEL_DATA_PARALLEL_GRADIENT_REDUCER_H_

#include <cstdint>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/data_parallel/flat_parameters.h"

namespace lextra {

class GradientReducer {
 public:
  // Both arguments outlive this. The owners of the parameters, if there are
  // several, are the ranks of the axis. Without `overlap` everything is reduced
  // in Finish().
  GradientReducer(FlatParameters& parameters, Communicator& data_axis,
                  bool overlap = true);
  GradientReducer(const GradientReducer&) = delete;
  ~GradientReducer();

  // Call before the last backward pass of a step: from then on a bucket is
  // reduced as soon as all its gradients are complete. Earlier passes only
  // accumulate.
  void Start();
  // Call after it. Gradients that this rank owns are then sums over the data
  // axis; the others are undefined.
  void Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// For layers that ran on split tokens (sharded_layers.h), once per step, after
// Finish(): sums over the tensor axis the gradients of parameters replicated
// over it, for the part that this rank owns.
void AllReduceSequenceParallelGradients(FlatParameters& parameters,
                                        Communicator& tensor_axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DATA_PARALLEL_GRADIENT_REDUCER_H_
