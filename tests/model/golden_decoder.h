// torchscale's decoders of tests/golden/ in our model.
#ifndef LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_
#define LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_

#include <string>

#include "config/run.pb.h"
#include "model/transformer.h"
#include "tests/testing/golden.h"

namespace lextra::testing {

// The resolved configuration of decoder_<name>: preln or subln.
ModelConfig GoldenDecoderConfig(const std::string& name,
                                PositionMethod position, Precision precision);

// The box of a whole tensor that a shard holds; rows of padded vocabulary that
// `whole` lacks are 0.
at::Tensor BoxOf(const at::Tensor& whole, const ShardedTensor& shard);

// Copies weights by name into the model's leaves.
void LoadWeights(const NamedTensors& weights, Transformer& model);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_
