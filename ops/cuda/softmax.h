// The softmax of rows of scores, and the gradient of its cross entropy, on a
// GPU. A rank may hold only some of a row's columns: between the two kernels
// the statistics are combined over the ranks.
#ifndef LEXTRA_OPS_CUDA_SOFTMAX_H_
#define LEXTRA_OPS_CUDA_SOFTMAX_H_

#include <cstdint>

#include "ops/cuda/element_type.h"

namespace lextra {

// Device pointers; rows of `columns` scores begin `row_stride` scores apart.
// Column 0 is that of id `first_id`.
struct ScoreRows {
  ElementType type;  // kFloat or kDouble; all statistics have it too
  void* scores;
  int64_t row_stride;
  int64_t rows;
  int64_t columns;
  const int64_t* targets;  // [rows], ids
  int64_t first_id;
};

// Per row: the largest score (finite also without columns), the sum of
// exp(score - largest), and the target's score, or 0 if it is on another rank.
struct ScoreStatisticsCuda {
  static constexpr char kName[] = "score_statistics";
  ScoreRows rows;
  void* maximum;
  void* sum;
  void* target_score;
};
const char* LaunchScoreStatisticsKernel(const ScoreStatisticsCuda& arguments,
                                        void* stream);

// scale (exp(score - maximum) share - (1 at the target)), rounded to
// `gradient_type`, overwrites the scores: a row of gradients begins where the
// row of scores did. bf16 gradients of fp32 scores, or of one type.
struct ScoreGradientCuda {
  static constexpr char kName[] = "score_gradient";
  ScoreRows rows;
  ElementType gradient_type;
  const void* maximum;
  const void* share;
  double scale;
};
const char* LaunchScoreGradientKernel(const ScoreGradientCuda& arguments,
                                      void* stream);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_SOFTMAX_H_
