// The decoder once more, as plain as can be: one matrix of scores, one mask of
// trues and falses, absolute positions, fp64. What every layout must equal.
#ifndef LEXTRA_TESTS_EVALUATOR_DENSE_DECODER_H_
#define LEXTRA_TESTS_EVALUATOR_DENSE_DECODER_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "config/run.pb.h"
#include "model/transformer.h"

namespace lextra::testing {

using Weights = std::map<std::string, at::Tensor>;

// Copies of the weights of a model that is not split, in fp64.
Weights WeightsOf(Transformer& model);

// Which keys (columns) the queries (rows) at T places see.
at::Tensor CausalMask(int64_t num_places);
at::Tensor BlockwiseMask(int64_t num_places, int64_t block);

// nll [B, T - 1] of tokens [B, T]. Knows LayerNorm, GELU, biases, grouped
// heads, xPos and a tied output.
at::Tensor DenseNll(const ModelConfig& model, const Weights& weights,
                    const at::Tensor& tokens_BT, const at::Tensor& mask_TT);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_EVALUATOR_DENSE_DECODER_H_
