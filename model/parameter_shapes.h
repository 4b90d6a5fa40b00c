// Names and shapes of a model's parameters, without a model: for reading the
// weights of others, and for counting.
#ifndef LEXTRA_MODEL_PARAMETER_SHAPES_H_
#define LEXTRA_MODEL_PARAMETER_SHAPES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

// Every parameter that a Transformer of `model` (resolved) has, tied ones once,
// with the shape of the whole tensor, the vocabulary padded.
std::map<std::string, std::vector<int64_t>> ParameterShapes(
    const ModelConfig& model);

// Numbers in all of them.
int64_t NumParameters(const ModelConfig& model);

}  // namespace lextra

#endif  // LEXTRA_MODEL_PARAMETER_SHAPES_H_
