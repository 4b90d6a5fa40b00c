// Sizes that follow from a resolved model's configuration.
#ifndef LEXTRA_CONFIG_MODEL_FACTS_H_
#define LEXTRA_CONFIG_MODEL_FACTS_H_

#include <cstdint>

#include "config/run.pb.h"

namespace lextra {

// The vocabulary after padding to pad_vocab_to_multiple_of.
int64_t PaddedVocab(const ModelConfig& model);

// The largest tensor degree that a resolved model can have; all others divide
// it.
int MaxTensorDegree(const ModelConfig& model);

}  // namespace lextra

#endif  // LEXTRA_CONFIG_MODEL_FACTS_H_
