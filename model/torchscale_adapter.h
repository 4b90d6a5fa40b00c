// Imports decoders of the public torchscale (github.com/microsoft/torchscale).
// Parameter names are the same; differences are checked: fields of its
// DecoderConfig that would change the forward pass beyond what our model
// supports are rejected by name. An adapter for another library is a file like
// this one and a line in launch/checkpoint_import.cc.
#ifndef LEXTRA_MODEL_TORCHSCALE_ADAPTER_H_
#define LEXTRA_MODEL_TORCHSCALE_ADAPTER_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "base/status.h"
#include "config/run.pb.h"

namespace lextra {

using StateDict = std::map<std::string, at::Tensor>;

// The model of a JSON file {"config": {fields of DecoderConfig},
// "training_length": l}, derived fields resolved. Sizes must be given; other
// absent fields have torchscale's defaults. `source` names the file in errors.
absl::StatusOr<RunConfig> TorchscaleConfig(const std::string& json,
                                           const std::string& source);

// A state_dict of that decoder as the tensors of our checkpoint: fp32, rows of
// the vocabulary padded with zeros, a tied output and the xPos buffers dropped
// after checking that they are what our model computes. InputError lists
// missing and unknown names.
absl::StatusOr<StateDict> TorchscaleTensors(const ModelConfig& model,
                                            StateDict state_dict);

}  // namespace lextra

#endif  // LEXTRA_MODEL_TORCHSCALE_ADAPTER_H_
