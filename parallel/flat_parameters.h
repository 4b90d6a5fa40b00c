// All parameters of a rank in one flat buffer, and their gradients in another:
// the optimizer sees two long vectors (decayed first, the rest after), and the
// gradient reducer cuts buckets anywhere.
#ifndef LEXTRA_PARALLEL_FLAT_PARAMETERS_H_
#define LEXTRA_PARALLEL_FLAT_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "parallel/parameter.h"

namespace lextra {

class FlatParameters {
 public:
  struct Slot {
    Parameter* parameter;
    int64_t begin;  // elements in the flat buffers
    int64_t size;
  };

  // Moves the leaves into the flat buffer (they become views of it) and gives
  // each a gradient that is a view of the flat gradient. The parameters outlive
  // this. All share one dtype; gradients have the same.
  explicit FlatParameters(std::vector<Parameter*> parameters);
  FlatParameters(const FlatParameters&) = delete;

  const at::Tensor& values() const { return values_; }        // [num_elements]
  const at::Tensor& gradients() const { return gradients_; }  // [num_elements]
  const std::vector<Slot>& slots() const { return slots_; }
  // Elements [0, num_decayed) belong to parameters with weight decay.
  int64_t num_decayed() const { return num_decayed_; }
  void ZeroGradients();

 private:
  std::vector<Slot> slots_;
  at::Tensor values_;
  at::Tensor gradients_;
  int64_t num_decayed_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_FLAT_PARAMETERS_H_
