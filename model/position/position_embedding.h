// What a position method adds to the token embeddings (docs/method.md section
// 5): SINUSOIDAL a fixed table, LEARNED a parameter, others nothing. Positions
// are those of the document, from 0 on.
//
// Legend: B batch, T place, C width, P ranks of the tensor axis.
#ifndef LEXTRA_MODEL_POSITION_POSITION_EMBEDDING_H_
#define LEXTRA_MODEL_POSITION_POSITION_EMBEDDING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "config/run.pb.h"
#include "parallel/communicator.h"
#include "parallel/parameter.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"

namespace lextra {

class PositionEmbedding {
 public:
  PositionEmbedding(const ModelConfig& model, Communicator& tensor_axis,
                    const Initializer& initialize);

  // x of tokens [B, T]: [B, T, C] replicated over the tensor axis, or this
  // rank's tokens [B T / P, C]. positions int64 [B, T]; undefined: 0 .. T-1 in
  // every row. LEARNED has rows for positions below the training length.
  at::Tensor AddTo(const at::Tensor& x, at::IntArrayRef tokens_shape,
                   const at::Tensor& positions_BT,
                   ActivationLayout layout) const;

  std::vector<Parameter*> parameters();

 private:
  at::Tensor OwnPositions(const at::Tensor& positions_BT,
                          ActivationLayout layout) const;
  at::Tensor Sinusoids(const at::Tensor& positions) const;

  PositionMethod method_;
  int64_t width_;
  Communicator& tensor_axis_;
  std::optional<Parameter> rows_;  // of LEARNED, [training length, C]
};

}  // namespace lextra

#endif  // LEXTRA_MODEL_POSITION_POSITION_EMBEDDING_H_
