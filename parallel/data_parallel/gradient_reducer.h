// Sums the gradients over the data axis, bucket by bucket, as the backward pass
// completes them. Where each rank owns a part of the buckets (ZeRO stage 1), it
// gets the sums of that part alone.
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
  // several, are the ranks of the axis. Without `overlap` all is reduced in
  // Finish().
  GradientReducer(FlatParameters& parameters, Communicator& data_axis,
                  bool overlap = true);
  GradientReducer(const GradientReducer&) = delete;
  ~GradientReducer();

  // Before the last backward pass of a step: from here on a bucket is reduced
  // as soon as all its gradients are complete. Earlier passes only accumulate.
  void Start();
  // After it: gradients are sums over the data axis, where this rank owns them;
  // elsewhere they are of no use.
  void Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// For layers that ran on split tokens (sharded_layers.h), once a step, after
// Finish(): sums the gradients of parameters that every rank of the tensor axis
// holds over it, where this rank owns them.
void AllReduceSequenceParallelGradients(FlatParameters& parameters,
                                        Communicator& tensor_axis);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DATA_PARALLEL_GRADIENT_REDUCER_H_
