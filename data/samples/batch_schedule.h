// Which samples form which batch: a pure function of (seed, step). The global
// batch of a step is the same for every number of data ranks and every number
// of gradient accumulation steps, and resuming needs one integer.
//
// An epoch is a permutation of the samples, drawn from (seed, epoch). Batches
// continue past the end of an epoch into the next; nothing is dropped. If there
// are at least 2 * global_batch_size samples, a batch that spans two epochs has
// no duplicates: the next epoch's order moves repeated samples past the batch.
// A batch costs O(global_batch_size), independent of the number of samples.
#ifndef LEXTRA_DATA_SAMPLES_BATCH_SCHEDULE_H_
#define LEXTRA_DATA_SAMPLES_BATCH_SCHEDULE_H_

#include <cstdint>
#include <vector>

namespace lextra {

class BatchSchedule {
 public:
  // Sizes are positive.
  BatchSchedule(uint64_t seed, int64_t num_samples, int64_t global_batch_size);

  // The samples of step `step` (from 0), in order; global_batch_size of them.
  std::vector<int64_t> GlobalBatch(int64_t step) const;
  // The share of data rank `rank` of `num_ranks`: a contiguous slice; the
  // slices of all ranks in order are the global batch.
  std::vector<int64_t> RankBatch(int64_t step, int rank, int num_ranks) const;
  // False if the data set is too small to guarantee this (see above).
  bool BatchesAreFreeOfRepeats() const;

 private:
  // The first global_batch_size samples of an epoch, repeated ones moved.
  std::vector<int64_t> EpochBeginning(int64_t epoch) const;

  uint64_t seed_;
  int64_t num_samples_;
  int64_t global_batch_size_;
};

}  // namespace lextra

#endif  // LEXTRA_DATA_SAMPLES_BATCH_SCHEDULE_H_
