#include "parallel/parameter.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lextra {

std::vector<ShardedTensor> Parameter::Shards(const at::Tensor& like,
                                             const MeshPlace& place,
                                             const std::string& prefix) const {
  TORCH_CHECK(like.sizes() == leaf.sizes(), "shards of a tensor of shape ",
              like.sizes(), ", the parameter has ", leaf.sizes());
  return SliceShards(like.detach().view(-1), 0, place, prefix);
}

std::vector<ShardedTensor> Parameter::SliceShards(
    const at::Tensor& slice, int64_t begin, const MeshPlace& place,
    const std::string& prefix) const {
  const int64_t end = begin + slice.numel();
  TORCH_CHECK(begin >= 0 && end <= leaf.numel() && slice.is_contiguous(),
              "elements ", begin, " to ", end, " of a parameter of shape ",
              leaf.sizes());
  std::vector<ShardedTensor> shards;
  for (const Piece& piece : pieces) {
    // In the leaf, where the piece's rows are consecutive.
    const int64_t row_size = leaf.numel() / leaf.size(0);
    const int64_t piece_begin = piece.first_row * row_size;
    int64_t first = std::max(begin, piece_begin);
    const int64_t last = std::min(end, piece_begin + piece.box.num_elements());
    for (Box box : BoxesOfRange(piece.box.shape, first - piece_begin,
                                last - piece_begin)) {
      const at::Tensor part =
          slice.narrow(0, first - begin, box.num_elements()).view(box.shape);
      first += box.num_elements();
      for (size_t dim = 0; dim < box.offset.size(); ++dim) {
        box.offset[dim] += piece.box.offset[dim];
      }
      shards.push_back(
          {.name = prefix + piece.name,
           .global_shape = piece.global_shape,
           .split_dim = tensor_sharded ? piece.split_dim : -1,
           .box = std::move(box),
           .replica = tensor_sharded ? place.data_rank
                                     : place.data_rank * place.num_tensor +
                                           place.tensor_rank,
           .num_replicas = tensor_sharded ? place.num_data
                                          : place.num_data * place.num_tensor,
           .tensor = part});
    }
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
  // cat copies, so the whole tensors are freed.
  return {.leaf = at::cat(boxes).requires_grad_(true),
          .pieces = std::move(pieces),
          .weight_decay = weight_decay,
          .tensor_sharded = tensor_sharded};
}

at::Tensor GradientOf(const at::Tensor& leaf) {
  at::Tensor& gradient = leaf.mutable_grad();
  if (!gradient.defined()) {
    const at::ScalarType dtype = leaf.scalar_type();
    gradient =
        at::zeros_like(leaf, dtype == at::kBFloat16 ? at::kFloat : dtype);
  }
  return gradient;
}

void CastLeaves(const std::vector<Parameter*>& parameters,
                at::ScalarType dtype) {
  for (Parameter* parameter : parameters) {
    parameter->leaf.set_data(parameter->leaf.detach().to(dtype));
  }
}

}  // namespace lextra
