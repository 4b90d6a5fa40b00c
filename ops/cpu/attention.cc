#include "ops/cpu/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/vector_clones.h"
#include "ops/cpu/matmul.h"
#include "ops/cpu/vector_exp.h"

namespace lextra {
namespace {

constexpr int64_t kQueryRows = 64;
// Keeps rows of scores from starting at multiples of a power of two, which
// would map to the same cache sets.
constexpr int64_t kPitchPadding = 16;

// The vectors of one (batch, head) from a place on, as rows of a matrix.
template <typename Scalar>
MatrixView<std::remove_const_t<Scalar>> RowsOf(
    const HeadVectors<Scalar>& vectors, int64_t batch, int64_t place,
    int64_t head) {
  return {vectors.At(batch, place, head), vectors.place_stride, 1};
}

template <typename Scalar>
ProductResult<Scalar> Into(const HeadVectors<Scalar>& vectors, int64_t batch,
                           int64_t place, int64_t head,
                           bool accumulate = false) {
  return {.data = vectors.At(batch, place, head),
          .row_step = vectors.place_stride,
          .accumulate = accumulate};
}

// The row of scores of one query, of which the first `seen` of `keys` count.
// scores <- e^(scores - max), 0 for keys not seen; returns their sum.
template <typename Scalar>
LEXTRA_VECTOR_CLONES Scalar Exponentials(Scalar* scores, int64_t seen,
                                         int64_t keys, Scalar* max_score) {
  Scalar max = -std::numeric_limits<Scalar>::infinity();
#pragma omp simd reduction(max : max)
  for (int64_t s = 0; s < seen; ++s) max = scores[s] > max ? scores[s] : max;
  Scalar sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t s = 0; s < seen; ++s) {
    const Scalar e = Exponential(scores[s] - max);
    scores[s] = e;
    sum += e;
  }
  for (int64_t s = seen; s < keys; ++s) scores[s] = 0;
  *max_score = max;
  return sum;
}

// scores <- P = e^(scores - lse) and dprobs <- dS = scale P (dprobs - delta);
// both 0 for keys not seen.
template <typename Scalar>
LEXTRA_VECTOR_CLONES void ScoreGradients(Scalar* scores, Scalar* dprobs,
                                         int64_t seen, int64_t keys, Scalar lse,
                                         Scalar delta, Scalar scale) {
#pragma omp simd
  for (int64_t s = 0; s < seen; ++s) {
    const Scalar p = Exponential(scores[s] - lse);
    scores[s] = p;
    dprobs[s] = scale * p * (dprobs[s] - delta);
  }
  for (int64_t s = seen; s < keys; ++s) scores[s] = dprobs[s] = 0;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES Scalar Dot(const Scalar* a, const Scalar* b,
                                int64_t size) {
  Scalar sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void Scale(Scalar* x, Scalar factor, int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) x[i] *= factor;
}

template <typename Scalar>
LEXTRA_VECTOR_CLONES void WeightedSum(Scalar* x, Scalar weight,
                                      const Scalar* more, Scalar more_weight,
                                      int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    x[i] = weight * x[i] + more_weight * more[i];
  }
}

// scores <- scores - slope (distance - step s). Distances are exact in fp32.
template <typename Scalar>
LEXTRA_VECTOR_CLONES void SubtractDistances(Scalar* scores, Scalar slope,
                                            Scalar distance, Scalar step,
                                            int64_t keys) {
#pragma omp simd
  for (int64_t s = 0; s < keys; ++s) {
    scores[s] -= slope * (distance - step * static_cast<Scalar>(s));
  }
}

// One thread's work on one (batch, head) after the other, with its buffers. The
// packed keys include the scale.
template <typename Scalar>
class HeadAttention {
 public:
  HeadAttention(const AttentionShape& shape,
                const AttentionOperands<Scalar>& operands)
      : shape_(shape),
        operands_(operands),
        group_(shape.heads / shape.kv_heads),
        pitch_(shape.keys + kPitchPadding),
        scores_(kQueryRows * pitch_) {}

  void Forward(const AttentionResult<Scalar>& result, bool merge, int64_t b,
               int64_t h) {
    PackKeys(b, h / group_);
    values_.Pack(RowsOf(operands_.v, b, 0, h / group_), shape_.keys,
                 shape_.head_dim);
    for (int64_t t = 0; t < shape_.queries; t += kQueryRows) {
      const int64_t rows = std::min(kQueryRows, shape_.queries - t);
      const int64_t keys = KeysSeen(t + rows - 1);
      Scores(b, h, t, rows, keys);
      Scalar maxima[kQueryRows];
      Scalar sums[kQueryRows];
      for (int64_t r = 0; r < rows; ++r) {
        sums[r] = Exponentials(&scores_[r * pitch_], KeysSeen(t + r), keys,
                               &maxima[r]);
      }
      if (merge) {
        Merge(result, b, h, t, rows, keys, maxima, sums);
        continue;
      }
      values_.Multiply(Rows(scores_), rows, shape_.head_dim, keys,
                       Into(result.out, b, t, h));
      for (int64_t r = 0; r < rows; ++r) {
        *result.lse.At(b, t + r, h) = maxima[r] + std::log(sums[r]);
        Scale(result.out.At(b, t + r, h), 1 / sums[r], shape_.head_dim);
      }
    }
  }

  // All query heads of key/value head `kv`. The last queries see the most keys:
  // with them first, each row of dk and dv is set once and accumulated into
  // afterwards.
  void Backward(const AttentionResult<const Scalar>& merged,
                HeadVectors<const Scalar> dout,
                const AttentionGradients<Scalar>& gradients, int64_t b,
                int64_t kv, bool accumulate) {
    dscores_.resize(scores_.size());
    PackKeys(b, kv);
    keys_.Pack(RowsOf(operands_.k, b, 0, kv), shape_.keys, shape_.head_dim);
    values_.Pack(RowsOf(operands_.v, b, 0, kv).Transposed(), shape_.head_dim,
                 shape_.keys);
    const int64_t last = (shape_.queries - 1) / kQueryRows * kQueryRows;
    bool add_keys = accumulate;
    for (int64_t h = kv * group_; h < (kv + 1) * group_; ++h) {
      for (int64_t t = last; t >= 0; t -= kQueryRows) {
        const int64_t rows = std::min(kQueryRows, shape_.queries - t);
        const int64_t keys = KeysSeen(t + rows - 1);
        const int64_t d = shape_.head_dim;
        ProbabilitiesAndScoreGradients(merged, dout, b, h, t, rows, keys);
        keys_.Multiply(Rows(dscores_), rows, d, keys,
                       Into(gradients.dq, b, t, h, accumulate));
        queries_.View(RowsOf(operands_.q, b, t, h), rows, d);
        queries_.Multiply(Rows(dscores_).Transposed(), keys, d, rows,
                          Into(gradients.dk, b, 0, kv, add_keys));
        dout_.View(RowsOf(dout, b, t, h), rows, d);
        dout_.Multiply(Rows(scores_).Transposed(), keys, d, rows,
                       Into(gradients.dv, b, 0, kv, add_keys));
        add_keys = true;
      }
    }
  }

 private:
  int64_t KeysSeen(int64_t query) const {
    return shape_.causal ? std::min(query + 1, shape_.keys) : shape_.keys;
  }

  MatrixView<Scalar> Rows(const std::vector<Scalar>& scores) const {
    return {scores.data(), pitch_, 1};
  }

  void PackKeys(int64_t b, int64_t kv) {
    scaled_keys_.Pack(RowsOf(operands_.k, b, 0, kv).Transposed(),
                      shape_.head_dim, shape_.keys, Scalar(shape_.scale));
  }

  void Scores(int64_t b, int64_t h, int64_t t, int64_t rows, int64_t keys) {
    scaled_keys_.Multiply(RowsOf(operands_.q, b, t, h), rows, keys,
                          shape_.head_dim,
                          {.data = scores_.data(), .row_step = pitch_});
    if (operands_.slopes == nullptr) return;
    for (int64_t r = 0; r < rows; ++r) {
      SubtractDistances(
          &scores_[r * pitch_], operands_.slopes[h],
          Scalar(operands_.distance + (t + r) * operands_.query_step),
          Scalar(operands_.key_step), keys);
    }
  }

  // scores_ are e^(scores - maxima), with these sums.
  void Merge(const AttentionResult<Scalar>& result, int64_t b, int64_t h,
             int64_t t, int64_t rows, int64_t keys, const Scalar* maxima,
             const Scalar* sums) {
    const int64_t d = shape_.head_dim;
    part_.resize(kQueryRows * d);
    values_.Multiply(Rows(scores_), rows, d, keys,
                     {.data = part_.data(), .row_step = d});
    for (int64_t r = 0; r < rows; ++r) {
      Scalar* lse = result.lse.At(b, t + r, h);
      const Scalar top = std::max(*lse, maxima[r]);
      const Scalar merged = top + std::log(std::exp(*lse - top) +
                                           sums[r] * std::exp(maxima[r] - top));
      WeightedSum(result.out.At(b, t + r, h), std::exp(*lse - merged),
                  &part_[r * d], std::exp(maxima[r] - merged), d);
      *lse = merged;
    }
  }

  void ProbabilitiesAndScoreGradients(
      const AttentionResult<const Scalar>& merged,
      const HeadVectors<const Scalar>& dout, int64_t b, int64_t h, int64_t t,
      int64_t rows, int64_t keys) {
    Scores(b, h, t, rows, keys);
    values_.Multiply(RowsOf(dout, b, t, h), rows, keys, shape_.head_dim,
                     {.data = dscores_.data(), .row_step = pitch_});
    for (int64_t r = 0; r < rows; ++r) {
      const Scalar delta = Dot(dout.At(b, t + r, h), merged.out.At(b, t + r, h),
                               shape_.head_dim);
      ScoreGradients(&scores_[r * pitch_], &dscores_[r * pitch_],
                     KeysSeen(t + r), keys, *merged.lse.At(b, t + r, h), delta,
                     Scalar(shape_.scale));
    }
  }

  const AttentionShape& shape_;
  const AttentionOperands<Scalar>& operands_;
  int64_t group_;
  int64_t pitch_;
  std::vector<Scalar> scores_;   // then probabilities
  std::vector<Scalar> part_;     // rows to be merged
  std::vector<Scalar> dscores_;  // first the probabilities' gradients
  RightOperand<Scalar> scaled_keys_;
  RightOperand<Scalar> values_;
  RightOperand<Scalar> keys_;
  RightOperand<Scalar> queries_;
  RightOperand<Scalar> dout_;
};

}  // namespace

template <typename Scalar>
void AttendOnCpu(const AttentionShape& shape,
                 const AttentionOperands<Scalar>& operands,
                 const AttentionResult<Scalar>& result, bool merge) {
  at::parallel_for(
      0, shape.batch * shape.heads, 1, [&](int64_t begin, int64_t end) {
        HeadAttention<Scalar> attention(shape, operands);
        for (int64_t i = begin; i < end; ++i) {
          attention.Forward(result, merge, i / shape.heads, i % shape.heads);
        }
      });
}

template <typename Scalar>
void AttendBackwardOnCpu(const AttentionShape& shape,
                         const AttentionOperands<Scalar>& operands,
                         const AttentionResult<const Scalar>& merged,
                         HeadVectors<const Scalar> dout,
                         const AttentionGradients<Scalar>& gradients,
                         bool accumulate) {
  at::parallel_for(
      0, shape.batch * shape.kv_heads, 1, [&](int64_t begin, int64_t end) {
        HeadAttention<Scalar> attention(shape, operands);
        for (int64_t i = begin; i < end; ++i) {
          attention.Backward(merged, dout, gradients, i / shape.kv_heads,
                             i % shape.kv_heads, accumulate);
        }
      });
}

template void AttendOnCpu(const AttentionShape&,
                          const AttentionOperands<float>&,
                          const AttentionResult<float>&, bool);
template void AttendOnCpu(const AttentionShape&,
                          const AttentionOperands<double>&,
                          const AttentionResult<double>&, bool);
template void AttendBackwardOnCpu(const AttentionShape&,
                                  const AttentionOperands<float>&,
                                  const AttentionResult<const float>&,
                                  HeadVectors<const float>,
                                  const AttentionGradients<float>&, bool);
template void AttendBackwardOnCpu(const AttentionShape&,
                                  const AttentionOperands<double>&,
                                  const AttentionResult<const double>&,
                                  HeadVectors<const double>,
                                  const AttentionGradients<double>&, bool);

}  // namespace lextra
