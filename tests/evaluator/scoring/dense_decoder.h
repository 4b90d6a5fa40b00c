// The decoder once more, as plain as can be: one matrix of scores, one mask of
// trues and falses, absolute positions, fp64. What every layout must equal.
#ifndef LEXTRA_TESTS_EVALUATOR_SCORING_DENSE_DECODER_H_
#define LEXTRA_TESTS_EVALUATOR_SCORING_DENSE_DECODER_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "config/run.pb.h"
#include "model/attention/document_mask.h"
#include "model/transformer.h"

namespace lextra::testing {

using Weights = std::map<std::string, at::Tensor>;

// Copies of the weights of a model that is not split, in fp64.
Weights WeightsOf(Transformer& model);

// Of queries (rows) and keys (columns) at T places: whether a query sees a key,
// and how far it stands from it.
struct DenseMask {
  at::Tensor visible_TT;   // bool
  at::Tensor distance_TT;  // fp64
};
// By the definitions of docs/method.md section 2, a pair at a time.
DenseMask DenseMaskOf(const DocumentMask& mask, int64_t num_places);

// nll [B, T - 1] of tokens [B, T]. Knows LayerNorm, GELU, biases, grouped
// heads, every position method and a tied output. Scaled scores [B, H, T, T] of
// each layer, masked or not, are appended to `scores`.
at::Tensor DenseNll(const ModelConfig& model, const Weights& weights,
                    const at::Tensor& tokens_BT, const DenseMask& mask,
                    std::vector<at::Tensor>* scores = nullptr);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_EVALUATOR_SCORING_DENSE_DECODER_H_
