// All parameters of a rank in one flat buffer, and their gradients in another:
// the optimizer sees few long vectors, and gradients are reduced in buckets
// with arbitrary boundaries. Parameters with weight decay come first; within
// each half those sharded over the tensor axis come first.
//
// Mixed precision: leaves are rounded to the compute dtype; gradients, masters
// (the parameters themselves, at full precision) and optimizer state are fp32,
// or fp64 for fp64 leaves.
//
// ZeRO stage 1 (Rajbhandari et al. 2020, "ZeRO"): the ranks of the data axis
// own equal parts of every bucket, in rank order. A rank updates the part that
// it owns, and holds masters and optimizer state only of that part. Values and
// gradients are stored whole, padded with zeros so that buckets divide evenly.
#ifndef LEXTRA_PARALLEL_DATA_PARALLEL_FLAT_PARAMETERS_H_
#define LEXTRA_PARALLEL_DATA_PARALLEL_FLAT_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/parameter.h"

namespace lextra {

class FlatParameters {
 public:
  struct Options {
    // Dtype of the leaves; if not set, that of the given ones.
    std::optional<at::ScalarType> compute_type = std::nullopt;
    // Gradient bytes per bucket.
    int64_t bucket_bytes = int64_t{4} << 20;
    // This rank's index among the owners, and their number.
    int owner = 0;
    int num_owners = 1;
  };
  struct Slot {
    Parameter* parameter;
    int64_t begin;  // elements in the flat buffers
    int64_t size;
  };
  struct Bucket {
    int64_t begin;
    int64_t size;  // divisible by num_owners
    bool weight_decay;
  };
  // Elements that this rank owns; `place`: index of the first in masters and
  // optimizer state.
  struct Piece {
    int64_t begin;
    int64_t size;
    int64_t place;
    bool weight_decay;
  };
  // Elements that this rank owns, of neighboring parameters of one kind.
  struct Run {
    int64_t begin;
    int64_t size;
    bool tensor_sharded;
  };

  // Moves the leaves into the flat buffer (they become views of it) and gives
  // each a gradient that is a view of the flat gradient. The parameters outlive
  // this. All share one dtype.
  explicit FlatParameters(std::vector<Parameter*> parameters)
      : FlatParameters(std::move(parameters), Options()) {}
  FlatParameters(std::vector<Parameter*> parameters, const Options& options);
  FlatParameters(const FlatParameters&) = delete;

  const at::Tensor& values() const { return values_; }        // [num_elements]
  const at::Tensor& gradients() const { return gradients_; }  // [num_elements]
  const std::vector<Slot>& slots() const { return slots_; }
  // In reduction order, the same on all ranks: from the back, because the last
  // layers' gradients come first; but the half without weight decay after the
  // matrices, because it holds norms and biases of all layers and is complete
  // only at the end.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  // In no particular order; one per half if this rank owns everything.
  const std::vector<Piece>& pieces() const { return pieces_; }
  // Maximal runs: only padding is left out.
  std::vector<Run> OwnRuns() const;
  int num_owners() const { return options_.num_owners; }
  int64_t num_owned() const { return num_owned_; }
  bool has_masters() const { return masters_.defined(); }

  // This rank's part of a bucket, of values() or gradients(): a view.
  at::Tensor OwnPart(const at::Tensor& flat, const Bucket& bucket) const;
  // What the optimizer updates: the masters of a piece, which without mixed
  // precision are its values. A view.
  at::Tensor Masters(const Piece& piece) const;
  // values <- masters, rounded, for the part that this rank owns.
  void RoundMasters();
  void ZeroGradients();

 private:
  // Places the parameters in [first, last) from num_elements_ on, and cuts them
  // into buckets.
  void LayOut(const std::vector<Parameter*>& parameters, bool weight_decay,
              int64_t bucket_size);
  void FindPieces();

  Options options_;
  std::vector<Slot> slots_;
  std::vector<Bucket> buckets_;
  std::vector<Piece> pieces_;
  int64_t num_elements_ = 0;
  int64_t num_owned_ = 0;
  at::Tensor values_;
  at::Tensor gradients_;
  at::Tensor masters_;  // [num_owned]; undefined without mixed precision
};

// Whether the parameter has a part in the bucket.
bool Overlap(const FlatParameters::Bucket& bucket,
             const FlatParameters::Slot& slot);

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_DATA_PARALLEL_FLAT_PARAMETERS_H_
