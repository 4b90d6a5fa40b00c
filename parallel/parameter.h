// A trainable tensor and the names of its parts.
#ifndef LEXTRA_PARALLEL_PARAMETER_H_
#define LEXTRA_PARALLEL_PARAMETER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/box.h"

namespace lextra {

// One named tensor of the whole model and the box of it that this rank holds.
// `replica` of `num_replicas` ranks hold the same box: the whole mesh has
// num_replicas copies, numbered 0 .. num_replicas - 1, and one of them writes
// it.
struct ShardedTensor {
  std::string name;
  std::vector<int64_t> global_shape;
  // Dimension that the tensor axis splits; -1: replicated over that axis.
  int split_dim = -1;
  Box box;
  int replica = 0;
  int num_replicas = 1;
  at::Tensor tensor;  // shape == box.shape; any strides
};

// A rank's place along the data and tensor axes: numbers the replicas.
struct MeshPlace {
  int data_rank = 0;
  int num_data = 1;
  int tensor_rank = 0;
  int num_tensor = 1;
};

// Makes the WHOLE tensor `name` of `global_shape` (it chooses dtype and
// device). Must not depend on the layout: layers slice what it returns.
using Initializer = std::function<at::Tensor(
    const std::string& name, const std::vector<int64_t>& global_shape)>;

// One leaf of autograd. A packed leaf (q, k and v in one matrix) has several
// named pieces, stacked along dimension 0.
struct Parameter {
  struct Piece {
    std::string name;
    std::vector<int64_t> global_shape;
    int split_dim = 0;  // that the tensor axis splits, if it does
    Box box;
    int64_t first_row = 0;  // in the leaf; the piece has box.shape[0] rows
  };

  at::Tensor leaf;
  std::vector<Piece> pieces;
  bool weight_decay = false;
  // Each rank of the tensor axis holds its own box; otherwise all hold the
  // same.
  bool tensor_sharded = false;

  // The pieces as views of `like`, a tensor of the leaf's shape: the leaf
  // itself or its optimizer state. Names get `prefix`.
  std::vector<ShardedTensor> Shards(const at::Tensor& like,
                                    const MeshPlace& place = {},
                                    const std::string& prefix = "") const;

  // The same for elements [begin, begin + slice.numel()) of the leaf in C
  // order, held by `slice` (contiguous): views of it, several boxes per piece
  // if the slice begins or ends within a row.
  std::vector<ShardedTensor> SliceShards(const at::Tensor& slice, int64_t begin,
                                         const MeshPlace& place,
                                         const std::string& prefix) const;
};

// A parameter whose leaf stacks the pieces' boxes (their first_row is set
// here), cut out of the whole tensors that `initialize` makes.
Parameter MakeParameter(std::vector<Parameter::Piece> pieces, bool weight_decay,
                        bool tensor_sharded, const Initializer& initialize);

// The leaf's gradient, created as zeros if there is none: in the leaf's dtype,
// but fp32 for a bfloat16 leaf. Backward passes of our layers accumulate into
// it directly and return no gradient for the leaf to autograd, which saves a
// temporary and a pass; the leaf's ready hooks still fire.
at::Tensor GradientOf(const at::Tensor& leaf);

// Rounds leaves that are not trained (FlatParameters does it for those that
// are).
void CastLeaves(const std::vector<Parameter*>& parameters,
                at::ScalarType dtype);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_PARAMETER_H_
