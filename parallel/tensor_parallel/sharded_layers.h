// The tensor-parallel layers. Every rank of the axis calls them with the same
// arguments; "replicated" tensors are equal on all ranks of the axis, "sharded"
// ones are this rank's part. All are exact: they equal the dense layer up to
// the order of additions.
//
// With ActivationLayout::kSplit, activations described as replicated are split
// by tokens between the layers: this rank has [N/P, ..] of them
// (conjugate_collectives.h). A replicated parameter's gradient is then that of
// this rank's tokens, to be summed over the axis
// (AllReduceSequenceParallelGradients in gradient_reducer.h).
//
// Shapes: N tokens (any leading dimensions), C width, V padded vocabulary,
// P ranks of the tensor axis.
// Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
#ifndef LEXTRA_PARALLEL_TENSOR_PARALLEL_SHARDED_LAYERS_H_
#define LEXTRA_PARALLEL_TENSOR_PARALLEL_SHARDED_LAYERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/parameter.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"

namespace lextra {

// y = x W^T + b, with the rows of W (the outputs) split over the ranks. x [..,
// in] replicated -> y [.., sum of out / P] sharded. Several outputs (q, k, v;
// gate and up) share one local matrix, so one GEMM makes them; each is split
// separately, so a rank's columns are [its part of the first | of the second
// ..].
class ColumnParallelLinear {
 public:
  struct Output {
    std::string name;  // parameters are name.weight and name.bias
    int64_t rows;      // of the whole model; divisible by P
  };

  ColumnParallelLinear(Communicator& tensor_axis, std::vector<Output> outputs,
                       int64_t in_features, bool bias,
                       const Initializer& initialize);

  at::Tensor operator()(
      const at::Tensor& x,
      ActivationLayout layout = ActivationLayout::kReplicated) {
    return Apply(x, layout, /*gelu=*/false);
  }
  // gelu(y), in the erf form.
  at::Tensor Gelu(const at::Tensor& x,
                  ActivationLayout layout = ActivationLayout::kReplicated) {
    return Apply(x, layout, /*gelu=*/true);
  }
  std::vector<Parameter*> parameters();

 private:
  at::Tensor Apply(const at::Tensor& x, ActivationLayout layout, bool gelu);

  Communicator& tensor_axis_;
  Parameter weight_;
  Parameter bias_;  // no leaf without bias
};

// y = x W^T + b, with the columns of W (the inputs) split over the ranks.
// x [.., in / P] sharded -> y [.., out] replicated; b is added once, after the
// sum.
class RowParallelLinear {
 public:
  RowParallelLinear(Communicator& tensor_axis, const std::string& name,
                    int64_t out_features, int64_t in_features, bool bias,
                    const Initializer& initialize);

  at::Tensor operator()(const at::Tensor& x, ActivationLayout layout =
                                                 ActivationLayout::kReplicated);
  std::vector<Parameter*> parameters();

 private:
  Communicator& tensor_axis_;
  Parameter weight_;
  Parameter bias_;
};

// A [V, C] matrix with its rows, the vocabulary, split over the ranks: the
// token embedding, and the output projection if it is not tied to it.
class VocabParallelEmbedding {
 public:
  VocabParallelEmbedding(Communicator& tensor_axis, const std::string& name,
                         int64_t padded_vocab, int64_t width,
                         const Initializer& initialize);

  // ids (int64, [..], each below V) -> x [.., C] replicated.
  at::Tensor operator()(
      const at::Tensor& ids,
      ActivationLayout layout = ActivationLayout::kReplicated);
  // This rank's rows [V / P, C] and the first of them.
  const at::Tensor& rows() const { return weight_.leaf; }
  int64_t first_row() const { return weight_.pieces[0].box.offset[0]; }
  std::vector<Parameter*> parameters();

 private:
  Communicator& tensor_axis_;
  Parameter weight_;
};

// -log softmax(x E^T)[target] over the first `vocab_size` rows of E, in chunks
// of tokens: the logits of all tokens never exist at once. One small all-gather
// per chunk: each rank's maximum, sum of exponentials and target logit. Logits,
// statistics, losses and the gradient of E are fp32 for bf16 x and E;
// everything else has the dtype of x. Padded ids are excluded by selection.
class VocabParallelCrossEntropy {
 public:
  // `output`: the rows of E; outlives this.
  VocabParallelCrossEntropy(Communicator& tensor_axis,
                            VocabParallelEmbedding& output, int64_t vocab_size,
                            int64_t tokens_per_chunk = 1024);

  // x [N, C] replicated, targets int64 [N] (all of them on every rank) -> scale
  // * sum of the N losses, a scalar with autograd. The gradients are computed
  // in the same pass as the loss (no logits are kept or recomputed), in
  // proportion to `scale`.
  at::Tensor Loss(const at::Tensor& x, const at::Tensor& targets_N,
                  double scale,
                  ActivationLayout layout = ActivationLayout::kReplicated);

  // The N losses in nats, no gradient.
  at::Tensor Nll(const at::Tensor& x_NC, const at::Tensor& targets_N);

  // The logits [N, vocab_size] on every rank, no gradient.
  at::Tensor Logits(const at::Tensor& x_NC);

 private:
  Communicator& tensor_axis_;
  VocabParallelEmbedding& output_;
  int64_t vocab_size_;
  int64_t tokens_per_chunk_;
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_TENSOR_PARALLEL_SHARDED_LAYERS_H_
