#include "parallel/parameter.h"

#include <ATen/ATen.h>

namespace lextra {

std::vector<ShardedTensor> Parameter::Shards(const at::Tensor& like,
                                             const std::string& prefix,
                                             int data_rank, int num_data,
                                             int tensor_rank,
                                             int num_tensor) const {
  TORCH_CHECK(like.sizes() == leaf.sizes(), "shards of a tensor of shape ",
              like.sizes(), ", the parameter has ", leaf.sizes());
  const at::Tensor values = like.detach();
  std::vector<ShardedTensor> shards;
  for (const Piece& piece : pieces) {
    shards.push_back(
        {.name = prefix + piece.name,
         .global_shape = piece.global_shape,
         .split_dim = tensor_sharded ? piece.split_dim : -1,
         .box = piece.box,
         .replica =
             tensor_sharded ? data_rank : data_rank * num_tensor + tensor_rank,
         .num_replicas = tensor_sharded ? num_data : num_data * num_tensor,
         .tensor = values.narrow(0, piece.first_row, piece.box.shape[0])});
  }
  return shards;
}

Parameter MakeParameter(std::vector<Parameter::Piece> pieces, bool weight_decay,
                        bool tensor_sharded, const Initializer& initialize) {
  std::vector<at::Tensor> boxes;
  int64_t num_rows = 0;
  for (Parameter::Piece& piece : pieces) {
    piece.first_row = num_rows;
    num_rows += piece.box.shape[0];
    at::Tensor part = initialize(piece.name, piece.global_shape);
    for (size_t dim = 0; dim < piece.box.shape.size(); ++dim) {
      part = part.narrow(static_cast<int64_t>(dim), piece.box.offset[dim],
                         piece.box.shape[dim]);
    }
    boxes.push_back(part);
  }
  // cat copies, so that the whole tensors go.
  return {.leaf = at::cat(boxes).requires_grad_(true),
          .pieces = std::move(pieces),
          .weight_decay = weight_decay,
          .tensor_sharded = tensor_sharded};
}

at::Tensor GradientOf(const at::Tensor& leaf) {
  at::Tensor& gradient = leaf.mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(leaf);
  return gradient;
}

}  // namespace lextra
