// torchscale's decoders of tests/golden/ in our model.
#ifndef LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_
#define LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_

#include <string>

#include "config/run.pb.h"
#include "tests/testing/golden.h"
#include "tests/testing/weights.h"

namespace lextra::testing {

// The resolved configuration of decoder_<name>: preln or subln.
ModelConfig GoldenDecoderConfig(const std::string& name,
                                PositionMethod position, Precision precision);

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_MODEL_GOLDEN_DECODER_H_
