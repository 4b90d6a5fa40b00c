// Shows the progress of a row: on a terminal as one line that is redrawn,
// elsewhere as a log line every half minute.
#ifndef LEXTRA_EVALUATOR_SCORING_ROW_PROGRESS_H_
#define LEXTRA_EVALUATOR_SCORING_ROW_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace lextra {

class RowProgress {
 public:
  // `total`: targets of all data ranks; `mine`: this rank's.
  RowProgress(std::string name, int64_t total, int64_t mine);
  ~RowProgress();  // clears the drawn line

  // More targets have been scored on this rank; the others are assumed to be as
  // far.
  void Add(int64_t num_targets);

 private:
  std::string name_;
  int64_t total_;
  int64_t mine_;
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  double next_seconds_;
  int64_t done_ = 0;  // of `mine`
  bool on_terminal_;
  bool drawn_ = false;
};

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_SCORING_ROW_PROGRESS_H_
