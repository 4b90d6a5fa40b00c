// Says now and then how far a row is: at a terminal by one line that is drawn
// again and again, elsewhere by a line every half minute.
#ifndef LEXTRA_EVALUATOR_SCORING_ROW_PROGRESS_H_
#define LEXTRA_EVALUATOR_SCORING_ROW_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace lextra {

class RowProgress {
 public:
  // `total`: targets of all data ranks, `mine` of them this one's.
  RowProgress(std::string name, int64_t total, int64_t mine);
  ~RowProgress();  // takes the drawn line away

  // More targets have been scored here; the others are about as far.
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
