// Where an evaluation writes: determined, checked and locked before its model
// is loaded, so that hours of scoring are not wasted.
#ifndef LEXTRA_LAUNCH_EVALUATION_OUTPUTS_H_
#define LEXTRA_LAUNCH_EVALUATION_OUTPUTS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "checkpoint/files/run_lock.h"
#include "config/run.pb.h"
#include "launch/evaluate_options.h"

namespace lextra {

// The folder for results, or empty for none: --results_dir, or RUN/eval/step-N.
// Never in a checkpoint.
std::string ResultsFolder(const EvaluateOptions& options,
                          const std::string& step_folder, int64_t step);

// One process. UsageError if an output is inside a checkpoint or the results
// folder has results of another subject (evaluator/results_subject.h),
// RunFolderHeldError if another evaluation writes to that folder, StorageError
// if an output can't be written. The folder is this job's as long as the lock
// lives; null without a folder.
absl::StatusOr<std::unique_ptr<RunLock>> TakeOutputs(
    const std::string& results_folder, const std::string& nll_out,
    const std::string& subject, const EvaluationConfig& evaluation);

}  // namespace lextra

#endif  // LEXTRA_LAUNCH_EVALUATION_OUTPUTS_H_
