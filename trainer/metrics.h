// What a training run reports while it runs: one aligned line per logging
// interval in the log, one JSON object per line in metrics.jsonl (rank 0).
//
// Rates (ms, tok/s, FLOP/s, eta) are the work of the steps since the previous
// line, divided by the time spent in these steps: validation, saves and replica
// checks between them count neither as work nor as time. A skipped step counts
// as both: its batch went forward and backward.
#ifndef LEXTRA_TRAINER_METRICS_H_
#define LEXTRA_TRAINER_METRICS_H_

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "config/run.pb.h"
#include "trainer/validator.h"

namespace lextra {

// FLOPs per training token, forward and backward: 6 N + 6 L C T, counting the
// causal half of the attention; C is the width of all heads together.
double TrainingFlopsPerToken(const ModelConfig& model);

class Metrics {
 public:
  // Removes lines of metrics.jsonl after step `first_step` (a resumed run
  // writes them again) and a torn last line (metrics_file.h).
  static absl::StatusOr<Metrics> Open(const RunConfig& config,
                                      const std::string& run_folder,
                                      int64_t first_step);

  struct Step {
    int64_t step = 0;  // completed steps, including this one
    int64_t tokens_seen = 0;
    double loss = 0;
    double gradient_norm = 0;
    double learning_rate = 0;
    int64_t skipped_steps = 0;
    int64_t batch_hash = 0;  // train_step.h
    double seconds = 0;      // in this step alone, by a steady clock
  };
  // Call after every step. Writes at step 1, every logging.interval_steps, and
  // at the last step. Failure to write a line (full disk) is a warning:
  // training continues without it.
  void Record(const Step& step);
  void RecordValidation(int64_t step, const ValidationLoss& validation);
  // NLL under BCA by length.
  void RecordExtrapolation(int64_t step,
                           const std::map<int64_t, double>& nll_at);

 private:
  Metrics() = default;
  void AppendLine(const std::string& line);

  RunConfig config_;
  std::string path_;
  // Since the last line.
  double seconds_ = 0;
  int64_t num_steps_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_METRICS_H_
