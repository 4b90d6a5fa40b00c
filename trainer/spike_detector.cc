#include "trainer/spike_detector.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lextra {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Two passes, because the mean of squares minus the square of the mean loses
// all digits when values are close.
double Score(double value, const std::deque<double>& window) {
  if (!std::isfinite(value)) return kInfinity;
  if (window.size() < SpikeDetector::kWindow) return 0;
  const double count = static_cast<double>(window.size());
  const double mean =
      std::accumulate(window.begin(), window.end(), 0.0) / count;
  double squares = 0;
  for (const double past : window) squares += (past - mean) * (past - mean);
  if (squares == 0) return value > mean ? kInfinity : 0;
  const double score = (value - mean) / std::sqrt(squares / count);
  return std::isfinite(score) ? score : kInfinity;
}

void AddFinite(double value, std::deque<double>* window) {
  if (!std::isfinite(value)) return;
  window->push_back(value);
  if (window->size() > SpikeDetector::kWindow) window->pop_front();
}

}  // namespace

double SpikeDetector::ZScore(double loss, double gradient_norm) const {
  return std::max(Score(loss, losses_), Score(gradient_norm, norms_));
}

void SpikeDetector::Add(double loss, double gradient_norm) {
  AddFinite(loss, &losses_);
  AddFinite(gradient_norm, &norms_);
}

void SpikeDetector::Restore(const std::vector<double>& losses,
                            const std::vector<double>& norms) {
  losses_.clear();
  norms_.clear();
  for (const double loss : losses) AddFinite(loss, &losses_);
  for (const double norm : norms) AddFinite(norm, &norms_);
}

}  // namespace lextra
