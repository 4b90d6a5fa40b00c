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
         .box = piece.box,
         .replica =
             tensor_sharded ? data_rank : data_rank * num_tensor + tensor_rank,
         .num_replicas = tensor_sharded ? num_data : num_data * num_tensor,
         .tensor = values.narrow(0, piece.first_row, piece.box.shape[0])});
  }
  return shards;
}

at::Tensor GradientOf(const at::Tensor& leaf) {
  at::Tensor& gradient = leaf.mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(leaf);
  return gradient;
}

}  // namespace lextra
