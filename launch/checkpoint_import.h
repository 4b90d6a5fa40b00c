// Imports weights of other libraries as checkpoints.
#ifndef LEXTRA_LAUNCH_CHECKPOINT_IMPORT_H_
#define LEXTRA_LAUNCH_CHECKPOINT_IMPORT_H_

#include <string>

#include "base/status.h"

namespace lextra {

// Reads the configuration and the weights of a model in `format` ("torchscale",
// model/torchscale_adapter.h) and writes RUN_FOLDER/step-00000000. UsageError
// for an unknown format.
absl::Status ImportCheckpoint(const std::string& format,
                              const std::string& config_file,
                              const std::string& weights_file,
                              const std::string& run_folder);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_CHECKPOINT_IMPORT_H_
