// Names and shapes of a model's parameters, without building a model: for
// importing weights and for counting.
#ifndef LEXTRA_MODEL_PARAMETER_SHAPES_H_
#define LEXTRA_MODEL_PARAMETER_SHAPES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/run.pb.h"

namespace lextra {

// Every parameter of a Transformer of `model` (resolved), tied ones once, with
// the shape of the whole tensor and padded vocabulary.
std::map<std::string, std::vector<int64_t>> ParameterShapes(
    const ModelConfig& model);

// Total number of parameter elements.
int64_t NumParameters(const ModelConfig& model);

}  // namespace lextra

#endif  // LEXTRA_MODEL_PARAMETER_SHAPES_H_
