// Sums the gradients over the data axis, bucket by bucket, as the backward pass
// completes them.
#ifndef LEXTRA_PARALLEL_GRADIENT_REDUCER_H_
#define LEXTRA_PARALLEL_GRADIENT_REDUCER_H_

#include <cstdint>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/flat_parameters.h"

namespace lextra {

class GradientReducer {
 public:
  // Both arguments outlive this. `bucket_bytes`: size of one reduction.
  GradientReducer(FlatParameters& parameters, Communicator& data_axis,
                  int64_t bucket_bytes);
  GradientReducer(const GradientReducer&) = delete;
  ~GradientReducer();

  // Before the last backward pass of a step: from here on a bucket is reduced
  // as soon as all its gradients are complete. Earlier passes only accumulate.
  void Start();
  // After it: all gradients are sums over the data axis.
  void Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_GRADIENT_REDUCER_H_
