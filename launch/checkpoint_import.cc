#include "launch/checkpoint_import.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/io/files.h"
#include "checkpoint/load_tensors.h"
#include "checkpoint/tensor_file.h"
#include "config/load.h"
#include "model/torchscale_adapter.h"

namespace lextra {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;

}  // namespace

absl::Status ImportCheckpoint(const std::string& format,
                              const std::string& config_file,
                              const std::string& weights_file,
                              const std::string& run_folder) {
  if (format != "torchscale") {
    return UsageError(
        absl::StrCat("unknown --format=", format, " (available: torchscale)"));
  }
  LEXTRA_ASSIGN_OR_RETURN(const std::string json,
                          ReadFile(config_file, kMaxConfigBytes));
  LEXTRA_ASSIGN_OR_RETURN(const RunConfig config,
                          TorchscaleConfig(json, config_file));
  LEXTRA_ASSIGN_OR_RETURN(NamedTensors state_dict,
                          ReadTensorFile(weights_file));
  absl::StatusOr<StateDict> tensors =
      TorchscaleTensors(config.model(), std::move(state_dict));
  if (!tensors.ok()) return WithContext(tensors.status(), weights_file);
  TrainingState state;
  state.set_config(RunConfigText(config));
  state.mutable_tokenizer()->set_vocab_size(config.model().vocab_size());
  return SaveWholeTensors(run_folder, {}, state, *tensors);
}

}  // namespace lextra
