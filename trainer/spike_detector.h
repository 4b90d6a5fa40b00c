// Finds steps whose loss or gradient norm is far above recent ones, after
// llm.c's outlier detector: z = (value - mean) / deviation, where mean and
// standard deviation are those of the last 128 finite values.
#ifndef LEXTRA_TRAINER_SPIKE_DETECTOR_H_
#define LEXTRA_TRAINER_SPIKE_DETECTOR_H_

#include <cstddef>
#include <deque>
#include <vector>

namespace lextra {

class SpikeDetector {
 public:
  static constexpr size_t kWindow = 128;

  // Steps that score above `z_threshold` are spikes; 0: none are.
  explicit SpikeDetector(double z_threshold) : z_threshold_(z_threshold) {}

  // The larger of the scores of the two values, each against its own window of
  // earlier values. Negative if both are below their means; 0 while a window is
  // not full. Infinite for a value that is not finite, and for a rise above a
  // window of equal values (which has no deviation).
  double ZScore(double loss, double gradient_norm) const;

  bool IsSpike(double loss, double gradient_norm) const {
    return z_threshold_ > 0 && ZScore(loss, gradient_norm) > z_threshold_;
  }

  // Call for every step, skipped or not: a lasting change of level then enters
  // the window and is no longer a spike. Non-finite values are ignored.
  void Add(double loss, double gradient_norm);

  // The windows, oldest value first; saved in checkpoints.
  std::vector<double> losses() const {
    return {losses_.begin(), losses_.end()};
  }
  std::vector<double> norms() const { return {norms_.begin(), norms_.end()}; }
  void Restore(const std::vector<double>& losses,
               const std::vector<double>& norms);

 private:
  double z_threshold_;
  std::deque<double> losses_;
  std::deque<double> norms_;
};

}  // namespace lextra

#endif  // LEXTRA_TRAINER_SPIKE_DETECTOR_H_
