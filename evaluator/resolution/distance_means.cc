#include "evaluator/resolution/distance_means.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lextra {
namespace {

// Sums over the diagonals of scores [H, T, S]: [H, S], the one that ends at the
// last query and the last key first, then those 1, 2, .. keys before it. Row t
// of the flipped matrix is shifted t columns to the right, so diagonals become
// columns.
at::Tensor DiagonalSums(const at::Tensor& scores_HTS) {
  const int64_t heads = scores_HTS.size(0);
  const int64_t queries = scores_HTS.size(1);
  const int64_t keys = scores_HTS.size(2);
  const int64_t width = keys + queries - 1;
  const at::Tensor moved =
      at::zeros({heads, queries, width}, scores_HTS.options());
  moved.as_strided({heads, queries, keys}, {queries * width, width + 1, 1})
      .copy_(scores_HTS.flip(2));
  return moved.sum(1).narrow(1, queries - 1, keys);
}

}  // namespace

DistanceMeans::DistanceMeans(int64_t num_heads, int64_t num_distances)
    : sums_HN_(at::zeros({num_heads, num_distances}, at::kDouble)),
      counts_N_(at::zeros({num_distances}, at::kDouble)) {}

void DistanceMeans::Add(const at::Tensor& scores_HTS, int64_t first_query,
                        int64_t first_key, int64_t max_distance) {
  const int64_t queries = scores_HTS.size(1);
  const int64_t keys = scores_HTS.size(2);
  TORCH_CHECK(scores_HTS.dim() == 3 && scores_HTS.size(0) == sums_HN_.size(0) &&
                  scores_HTS.scalar_type() == at::kDouble &&
                  first_key + keys == first_query + queries,
              "scores ", scores_HTS.sizes(), " of queries from ", first_query,
              " and keys from ", first_key, " on");
  const int64_t distances = std::min({keys, max_distance, sums_HN_.size(1)});
  sums_HN_.narrow(1, 0, distances)
      .add_(DiagonalSums(scores_HTS).narrow(1, 0, distances).cpu());
  // The first queries have no key that far back.
  const at::Tensor n = at::arange(distances, at::kDouble);
  counts_N_.narrow(0, 0, distances)
      .add_(queries - (n - (first_query - first_key)).clamp(0, queries));
}

at::Tensor MeanScores(const at::Tensor& sums_HN, const at::Tensor& counts_N) {
  return (sums_HN / counts_N)
      .masked_fill(counts_N == 0, -std::numeric_limits<double>::infinity());
}

at::Tensor AttentionResolution(const at::Tensor& s) {
  const at::Tensor p = s.softmax(-1);
  const at::Tensor after =
      at::constant_pad_nd(p.narrow(-1, 1, p.size(-1) - 1), {0, 1});
  return (p * (p - after)).sum(-1);
}

}  // namespace lextra
