// Whole tensors by name into a model that is split over ranks.
#ifndef LEXTRA_TESTS_TESTING_WEIGHTS_H_
#define LEXTRA_TESTS_TESTING_WEIGHTS_H_

#include "checkpoint/tensor_file.h"
#include "model/transformer.h"

namespace lextra::testing {

// The box of a whole tensor that a shard holds; rows of padded vocabulary that
// `whole` lacks are 0.
at::Tensor BoxOf(const at::Tensor& whole, const ShardedTensor& shard);

// Copies weights by name into the model's leaves.
void LoadWeights(const NamedTensors& weights, Transformer& model);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_WEIGHTS_H_
