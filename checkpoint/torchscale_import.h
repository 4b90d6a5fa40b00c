// Decoders of the public torchscale (github.com/microsoft/torchscale) as
// checkpoints of ours. Parameter names are the same; what differs is checked:
// fields of its DecoderConfig that would change the forward pass beyond what
// our model does are refused by name.
#ifndef LEXTRA_CHECKPOINT_TORCHSCALE_IMPORT_H_
#define LEXTRA_CHECKPOINT_TORCHSCALE_IMPORT_H_

#include <string>

#include "base/status.h"
#include "checkpoint/tensor_file.h"
#include "config/run.pb.h"

namespace lextra {

// The model of a JSON file {"config": {fields of DecoderConfig},
// "training_length": l}, derived fields resolved. Sizes must be given; other
// absent fields have torchscale's defaults. `source` names the file in errors.
absl::StatusOr<RunConfig> TorchscaleConfig(const std::string& json,
                                           const std::string& source);

// A state_dict of that decoder as the tensors of our checkpoint: fp32, rows of
// the vocabulary padded with zeros, a tied output and the xPos buffers dropped
// once they are found to be what our model computes. InputError lists the names
// that are missing and those that are not known.
absl::StatusOr<NamedTensors> TorchscaleTensors(const ModelConfig& model,
                                               NamedTensors state_dict);

// Reads both files and writes RUN/step-00000000.
absl::Status ImportTorchscale(const std::string& config_file,
                              const std::string& weights_file,
                              const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_CHECKPOINT_TORCHSCALE_IMPORT_H_
