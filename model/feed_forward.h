// The feed forward of one layer:
//   GELU    y = fc2(norm(gelu(fc1(x)))), gelu in the erf form
//   SWIGLU  y = fc2(norm(silu(gate(x)) * fc1(x)))
// where norm, ffn_layernorm, exists only with sub-LN. The inner width is split
// over the tensor axis.
#ifndef LEXTRA_MODEL_FEED_FORWARD_H_
#define LEXTRA_MODEL_FEED_FORWARD_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "model/norm.h"
#include "parallel/communicator.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {

class FeedForward {
 public:
  // Parameters are name.fc1, name.gate, name.fc2, name.ffn_layernorm.
  FeedForward(const ModelConfig& model, const std::string& name,
              Communicator& tensor_axis, const Initializer& initialize);

  // x [.., C] -> [.., C], both replicated or both split by tokens.
  at::Tensor operator()(const at::Tensor& x, ActivationLayout layout =
                                                 ActivationLayout::kReplicated);
  std::vector<Parameter*> parameters();

 private:
  Activation activation_;
  ColumnParallelLinear in_;  // gate, if there is one, and fc1
  std::optional<NormLayer> norm_;
  RowParallelLinear fc2_;
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_FEED_FORWARD_H_
