// The mean attention score at each distance between query and key:
//   s[n] = mean of e_{i,i-n} over all visible pairs that are n apart
// (Sun et al. 2022, equation 11), summed in fp64, by head.
//
// Legend: H heads, T queries, S keys, N distances.
#ifndef LEXTRA_EVALUATOR_RESOLUTION_DISTANCE_MEANS_H_
#define LEXTRA_EVALUATOR_RESOLUTION_DISTANCE_MEANS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lextra {

class DistanceMeans {
 public:
  DistanceMeans(int64_t num_heads, int64_t num_distances);

  // Scores fp64 [H, T, S] of queries at first_query, .. and keys at first_key,
  // .. up to the last query's place. Keys after a query are ignored, and so are
  // those max_distance or more before it.
  void Add(const at::Tensor& scores_HTS, int64_t first_query, int64_t first_key,
           int64_t max_distance);

  // Sums [H, N] and pairs [N], to be added over ranks.
  const at::Tensor& sums() const { return sums_HN_; }
  const at::Tensor& counts() const { return counts_N_; }

 private:
  at::Tensor sums_HN_;
  at::Tensor counts_N_;  // fp64
};

// s [H, N]: -inf at distances without a pair.
at::Tensor MeanScores(const at::Tensor& sums_HN, const at::Tensor& counts_N);

// Attention resolution (equation 3) of s fp64 [.., N]:
//   R = sum_n e^s[n] (e^s[n] - e^s[n+1]) / (sum_n e^s[n])^2,  e^s[N] = 0,
// which with p = softmax(s) is p_0^2 / 2 + sum_n (p_n - p_{n+1})^2 / 2 <= 1.
at::Tensor AttentionResolution(const at::Tensor& s);

}  // namespace lextra

#endif  // LEXTRA_EVALUATOR_RESOLUTION_DISTANCE_MEANS_H_
