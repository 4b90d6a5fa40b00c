// The flags of `lextra evaluate`, and the configuration that follows from the
// checkpoint's and from these.
#ifndef LEXTRA_LAUNCH_EVALUATE_OPTIONS_H_
#define LEXTRA_LAUNCH_EVALUATE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/run.pb.h"
#include "launch/arguments/command_line.h"

namespace lextra {

struct EvaluateOptions {
  std::string checkpoint;
  std::string results_dir;
  std::string tokens;
  std::string nll_out;
  std::string config;
  int64_t expect_world_size = 0;
  std::vector<std::string> overrides;
};

CommandLine EvaluateCommandLine(EvaluateOptions* options);

// UsageError for a missing flag.
absl::Status CheckEvaluateOptions(const EvaluateOptions& options);

// The configuration stored with the checkpoint, except for the layout of the
// ranks that saved it, plus the options.
absl::StatusOr<RunConfig> EffectiveEvaluateConfig(
    const EvaluateOptions& options, const std::string& step_folder,
    int world_size);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_EVALUATE_OPTIONS_H_
