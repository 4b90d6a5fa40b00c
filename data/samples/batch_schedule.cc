#include "data/samples/batch_schedule.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/seeds.h"
#include "data/samples/permutation.h"

namespace lextra {
namespace {

Permutation EpochOrder(uint64_t seed, int64_t epoch, int64_t num_samples) {
  return Permutation(SeedFor(seed, absl::StrCat("epoch ", epoch)), num_samples);
}

}  // namespace

BatchSchedule::BatchSchedule(uint64_t seed, int64_t num_samples,
                             int64_t global_batch_size)
    : seed_(seed),
      num_samples_(num_samples),
      global_batch_size_(global_batch_size) {}

bool BatchSchedule::BatchesAreFreeOfRepeats() const {
  return num_samples_ >= 2 * global_batch_size_;
}

std::vector<int64_t> BatchSchedule::EpochBeginning(int64_t epoch) const {
  const Permutation order = EpochOrder(seed_, epoch, num_samples_);
  std::vector<int64_t> samples(std::min(global_batch_size_, num_samples_));
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = order(i);
  // The batch across the start of the epoch: `tail` samples of the previous
  // epoch, then the first `head` of this one.
  const int64_t tail = epoch * num_samples_ % global_batch_size_;
  if (tail == 0 || !BatchesAreFreeOfRepeats()) return samples;
  const int64_t head = global_batch_size_ - tail;

  // Tails begin after the first global_batch_size positions, and only those are
  // changed below; so the previous epoch needs no such change here.
  const Permutation before = EpochOrder(seed_, epoch - 1, num_samples_);
  std::unordered_set<int64_t> already;
  for (int64_t i = num_samples_ - tail; i < num_samples_; ++i) {
    already.insert(before(i));
  }
  // Of the positions after head at most tail - r hold one of the tail's samples
  // if r positions before it do, so there is always one to swap with.
  int64_t behind = head;
  for (int64_t i = 0; i < head; ++i) {
    if (!already.contains(samples[i])) continue;
    while (already.contains(samples[behind])) ++behind;
    std::swap(samples[i], samples[behind]);
    ++behind;
  }
  return samples;
}

std::vector<int64_t> BatchSchedule::GlobalBatch(int64_t step) const {
  std::vector<int64_t> batch;
  batch.reserve(global_batch_size_);
  int64_t epoch = step * global_batch_size_ / num_samples_;
  int64_t place = step * global_batch_size_ % num_samples_;
  while (std::ssize(batch) < global_batch_size_) {
    const Permutation order = EpochOrder(seed_, epoch, num_samples_);
    const std::vector<int64_t> beginning = place < global_batch_size_
                                               ? EpochBeginning(epoch)
                                               : std::vector<int64_t>();
    for (; place < num_samples_ && std::ssize(batch) < global_batch_size_;
         ++place) {
      batch.push_back(place < std::ssize(beginning) ? beginning[place]
                                                    : order(place));
    }
    ++epoch;
    place = 0;
  }
  return batch;
}

std::vector<int64_t> BatchSchedule::RankBatch(int64_t step, int rank,
                                              int num_ranks) const {
  const std::vector<int64_t> batch = GlobalBatch(step);
  return {batch.begin() + global_batch_size_ * rank / num_ranks,
          batch.begin() + global_batch_size_ * (rank + 1) / num_ranks};
}

}  // namespace lextra
