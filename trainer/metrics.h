// What a training run tells people and programs while it runs: one aligned line
// a step group on the log, one JSON object a line in metrics.jsonl (rank 0).
//
// Rates (ms, tok/s, FLOP/s, the time left) are the work of the steps since the
// line before, divided by the time spent inside these steps: validations, saves
// and comparisons of replicas between them count neither as work nor as time.
// A skipped step counts as both: its batch went forward and backward.
#ifndef LEXTRA_TRAINER_METRICS_H_
#define LEXTRA_TRAINER_METRICS_H_

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "config/run.pb.h"
#include "trainer/validator.h"

namespace lextra {

// FLOPs of one training token, forward and backward: 6 N + 6 L C T, causal half
// of the attention counted; C is the width of all heads together.
double TrainingFlopsPerToken(const ModelConfig& model);

class Metrics {
 public:
  // Lines of metrics.jsonl beyond `first_step` steps done are removed (a run
  // that resumes writes them again), and a torn last line (metrics_file.h).
  static absl::StatusOr<Metrics> Open(const RunConfig& config,
                                      const std::string& run_folder,
                                      int64_t first_step);

  struct Step {
    int64_t step = 0;  // steps done, this one included
    int64_t tokens_seen = 0;
    double loss = 0;
    double gradient_norm = 0;
    double learning_rate = 0;
    int64_t skipped_steps = 0;
    int64_t batch_hash = 0;  // train_step.h
    double seconds = 0;      // spent in this step alone, on a steady clock
  };
  // Call after every step; writes when it is due (step 1, every every_steps,
  // the last). A line that can't be written (a full disk) is a warning:
  // training goes on without it.
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
  // Of the steps since the last line.
  double seconds_ = 0;
  int64_t num_steps_ = 0;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_METRICS_H_
