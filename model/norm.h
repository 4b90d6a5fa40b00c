// Layer norm and RMS norm over the last dimension, C:
//   LAYER_NORM  y = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias
//   RMS_NORM    y = x / sqrt(mean(x^2) + epsilon) * weight
// The variance is biased. Either every rank holds whole rows and all
// parameters, or (the second norms of sub-LN) rows and parameters are split
// over the tensor axis: statistics are then summed over it, and the result
// equals that of the whole row up to the order of additions. In bf16, x and
// parameters are rounded; statistics and sums are fp32. Results don't depend on
// the number of threads.
#ifndef LEXTRA_MODEL_NORM_H_
#define LEXTRA_MODEL_NORM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"

namespace lextra {

class NormLayer {
 public:
  // Parameters are name.weight and, for layer norm with `bias`, name.bias.
  // `width`: of the whole model. `split_over`: the tensor axis, which outlives
  // this, if rows are split; otherwise null.
  NormLayer(Norm kind, const std::string& name, int64_t width, double epsilon,
            bool bias, Communicator* split_over, const Initializer& initialize);

  at::Tensor operator()(const at::Tensor& x);

  // For a residual stream: x <- x + branch, and its norm, in one pass over
  // memory forward and one backward. Nothing is added if `branch` is undefined.
  // Rows are whole.
  struct Residual {
    at::Tensor x;
    at::Tensor normalized;
  };
  Residual operator()(const at::Tensor& x, const at::Tensor& branch);

  std::vector<Parameter*> parameters();

 private:
  std::vector<at::Tensor> Apply(const at::Tensor& x,
                                const std::optional<at::Tensor>& branch);

  Norm kind_;
  double epsilon_;
  Communicator* split_over_;
  Parameter weight_;
  Parameter bias_;  // no leaf without bias
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_NORM_H_
