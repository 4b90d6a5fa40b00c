// The softmax of x E^T over a vocabulary whose rows of E are split over the
// tensor axis, one chunk of tokens at a time in the same memory: the logits of
// all tokens never exist at once.
// N: tokens, n: those of one chunk, v: the rows of E that this rank scores.
#ifndef LEXTRA_PARALLEL_TENSOR_PARALLEL_CHUNKED_SOFTMAX_H_
#define LEXTRA_PARALLEL_TENSOR_PARALLEL_CHUNKED_SOFTMAX_H_

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "ops/matmul.h"
#include "parallel/communicator.h"
#include "parallel/tensor_parallel/sharded_layers.h"

namespace lextra {

void CheckHidden(const at::Tensor& x_NC, const at::Tensor& rows_VC);

class ChunkedSoftmax {
 public:
  // `by_kernels`: use the CUDA kernels (required for CUDA tensors).
  ChunkedSoftmax(Communicator& axis, const VocabParallelEmbedding& output,
                 int64_t vocab_size, int64_t tokens_per_chunk, bool by_kernels);

  // In the dtype of the products: E's, but fp32 for bf16 without kernels, since
  // a CPU multiplies bf16 far more slowly.
  const at::Tensor& rows_vC() const { return rows_vC_; }

  // The losses [N], bitwise identical on every rank. after(begin, x_nC) is
  // called when the chunk of tokens begin, begin + 1, ... has been scored; x_nC
  // has the dtype of rows_vC().
  template <typename After>
  at::Tensor ForEachChunk(const at::Tensor& x_NC, const at::Tensor& targets_N,
                          After after) {
    const at::Tensor nll_N = NllOf(x_NC, targets_N);
    const int64_t num_tokens = x_NC.size(0);
    for (int64_t begin = 0; begin < num_tokens; begin += tokens_per_chunk_) {
      const int64_t n = std::min(tokens_per_chunk_, num_tokens - begin);
      const at::Tensor x_nC =
          x_NC.narrow(0, begin, n).to(rows_vC_.scalar_type());
      nll_N.narrow(0, begin, n)
          .copy_(Score(x_nC, targets_N.narrow(0, begin, n)));
      after(begin, x_nC);
    }
    return nll_N;
  }

  // scale * d(sum of the losses) / d(scores) [n, v] of the current chunk, in
  // the dtype of rows_vC(); reuses the memory of the scores.
  at::Tensor ScoreGradient(double scale);

 private:
  // Memory for the losses; checks the arguments.
  at::Tensor NllOf(const at::Tensor& x_NC, const at::Tensor& targets_N) const;
  // The losses [n] of a chunk.
  at::Tensor Score(const at::Tensor& x_nC, const at::Tensor& targets_n);
  // Set per token: largest score, sum of exponentials, the target's score.
  void SetStatistics(const at::Tensor& mine_3n);
  void SetStatisticsByKernel(const at::Tensor& mine_3n);
  at::Tensor Combine(const at::Tensor& mine_3n);
  at::Tensor ScoreGradientByKernel(double scale);

  Communicator& axis_;
  int64_t first_row_;
  int64_t vocab_size_;
  int64_t tokens_per_chunk_;
  bool by_kernels_;
  bool only_padding_;
  at::Tensor rows_vC_;
  at::Tensor scores_;  // [tokens_per_chunk, >= v], in the statistics' dtype
  // Of the current chunk. After Score, scores_nv_ holds exp(score - this rank's
  // maximum), or still the scores with kernels; the exponentials times share_n_
  // are the softmax.
  at::Tensor scores_nv_;
  at::Tensor targets_n_;
  at::Tensor maximum_n_;
  at::Tensor share_n_;
  at::Tensor target_n1_;   // without kernels
  at::Tensor is_here_n1_;  // without kernels
};

}  // namespace lextra

#endif  // LEXTRA_PARALLEL_TENSOR_PARALLEL_CHUNKED_SOFTMAX_H_
