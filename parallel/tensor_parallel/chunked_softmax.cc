#include "parallel/tensor_parallel/chunked_softmax.h"

#include <ATen/ATen.h>

#include <limits>

#include "base/math.h"
#include "ops/cuda/softmax.h"
#include "ops/cuda_kernel.h"
#include "parallel/tensor_parallel/local_ids.h"

namespace lextra {
namespace {

// Rows of scores for kernels begin at multiples of 32 bytes for any v.
constexpr int64_t kScoreRowMultiple = 8;

ScoreRows RowsOf(const at::Tensor& scores_nv, const at::Tensor& targets_n,
                 int64_t first_row) {
  return {.type = scores_nv.scalar_type() == at::kDouble ? ElementType::kDouble
                                                         : ElementType::kFloat,
          .scores = scores_nv.mutable_data_ptr(),
          .row_stride = scores_nv.stride(0),
          .rows = scores_nv.size(0),
          .columns = scores_nv.size(1),
          .targets = targets_n.const_data_ptr<int64_t>(),
          .first_id = first_row};
}

}  // namespace

void CheckHidden(const at::Tensor& x_NC, const at::Tensor& rows_VC) {
  TORCH_CHECK(x_NC.dim() == 2 && x_NC.size(1) == rows_VC.size(1) &&
                  x_NC.scalar_type() == rows_VC.scalar_type(),
              "hidden states ", x_NC.scalar_type(), " ", x_NC.sizes(),
              " with an output matrix ", rows_VC.scalar_type(), " ",
              rows_VC.sizes());
}

ChunkedSoftmax::ChunkedSoftmax(Communicator& axis,
                               const VocabParallelEmbedding& output,
                               int64_t vocab_size, int64_t tokens_per_chunk,
                               bool by_kernels)
    : axis_(axis),
      first_row_(output.first_row()),
      vocab_size_(vocab_size),
      tokens_per_chunk_(tokens_per_chunk),
      by_kernels_(by_kernels) {
  const at::Tensor rows_VC = output.rows().detach();
  const int64_t num_valid =
      std::clamp<int64_t>(vocab_size - first_row_, 0, rows_VC.size(0));
  // A rank with only padding scores one row of it and drops the result.
  only_padding_ = num_valid == 0;
  rows_vC_ = rows_VC.narrow(0, 0, std::max<int64_t>(num_valid, 1));
  const at::ScalarType statistics = StatisticsType(rows_VC.scalar_type());
  int64_t row_size = rows_vC_.size(0);
  if (by_kernels) {
    row_size = RoundUp(row_size, kScoreRowMultiple);
  } else {
    rows_vC_ = rows_vC_.to(statistics);
  }
  scores_ = at::empty({tokens_per_chunk, row_size},
                      rows_VC.options().dtype(statistics));
}

at::Tensor ChunkedSoftmax::NllOf(const at::Tensor& x_NC,
                                 const at::Tensor& targets_N) const {
  CheckIds(targets_N, vocab_size_, "targets");
  TORCH_CHECK(targets_N.dim() == 1 && targets_N.size(0) == x_NC.size(0),
              "targets ", targets_N.sizes(), " for hidden states ",
              x_NC.sizes());
  return at::empty({x_NC.size(0)}, scores_.options());
}

at::Tensor ChunkedSoftmax::Score(const at::Tensor& x_nC,
                                 const at::Tensor& targets_n) {
  const int64_t n = x_nC.size(0);
  scores_nv_ = scores_.narrow(0, 0, n).narrow(1, 0, rows_vC_.size(0));
  targets_n_ = targets_n.contiguous();
  Matmul(scores_nv_, x_nC, rows_vC_.t());
  const at::Tensor mine_3n = at::empty({3, n}, scores_.options());
  maximum_n_ = mine_3n[0];
  if (by_kernels_) {
    SetStatisticsByKernel(mine_3n);
  } else {
    SetStatistics(mine_3n);
  }
  return Combine(mine_3n);
}

void ChunkedSoftmax::SetStatistics(const at::Tensor& mine_3n) {
  if (only_padding_) {
    scores_nv_.fill_(-std::numeric_limits<double>::infinity());
  }
  const LocalIds targets(targets_n_, first_row_,
                         only_padding_ ? 0 : rows_vC_.size(0));
  target_n1_ = targets.place.unsqueeze(1);
  is_here_n1_ =
      targets.outside.logical_not().to(scores_.scalar_type()).unsqueeze(1);
  at::Tensor sum_n = mine_3n[1];
  at::amax_out(maximum_n_, scores_nv_, 1);
  // Finite, so that -inf - maximum is -inf.
  maximum_n_.clamp_min_(std::numeric_limits<float>::lowest());
  mine_3n[2].copy_(scores_nv_.gather(1, target_n1_).squeeze(1));
  mine_3n[2].masked_fill_(targets.outside, 0);
  scores_nv_.sub_(maximum_n_.unsqueeze(1)).exp_();
  at::sum_out(sum_n, scores_nv_, 1);
}

void ChunkedSoftmax::SetStatisticsByKernel(const at::Tensor& mine_3n) {
  static const CudaKernel<ScoreStatisticsCuda> kernel(
      &CudaKernels::score_statistics);
  ScoreStatisticsCuda arguments = {
      .rows = RowsOf(scores_nv_, targets_n_, first_row_),
      .maximum = maximum_n_.mutable_data_ptr(),
      .sum = mine_3n[1].mutable_data_ptr(),
      .target_score = mine_3n[2].mutable_data_ptr()};
  if (only_padding_) arguments.rows.columns = 0;
  kernel(arguments, scores_.device());
}

// Every rank gets the statistics of all ranks and adds them in rank order: one
// collective instead of one per statistic.
at::Tensor ChunkedSoftmax::Combine(const at::Tensor& mine_3n) {
  const int64_t n = mine_3n.size(1);
  at::Tensor all_P3n = mine_3n.unsqueeze(0);
  if (axis_.size() > 1) {
    all_P3n = at::empty({axis_.size(), 3, n}, mine_3n.options());
    axis_.AllGather(all_P3n, mine_3n);
  }
  const at::Tensor maxima_Pn = all_P3n.select(1, 0);
  const at::Tensor maximum_n = maxima_Pn.amax(0);
  const at::Tensor weights_Pn = (maxima_Pn - maximum_n).exp_();
  const at::Tensor sum_n = (all_P3n.select(1, 1) * weights_Pn).sum(0);
  share_n_ = weights_Pn[axis_.rank()] / sum_n;
  // The difference first: it is exact if the target has the maximum.
  return sum_n.log().add_(maximum_n - all_P3n.select(1, 2).sum(0));
}

at::Tensor ChunkedSoftmax::ScoreGradient(double scale) {
  if (by_kernels_) return ScoreGradientByKernel(scale);
  scores_nv_.mul_((share_n_ * scale).unsqueeze(1));
  scores_nv_.scatter_add_(1, target_n1_, is_here_n1_ * -scale);
  return scores_nv_;
}

at::Tensor ChunkedSoftmax::ScoreGradientByKernel(double scale) {
  static const CudaKernel<ScoreGradientCuda> kernel(
      &CudaKernels::score_gradient);
  const at::ScalarType dtype = rows_vC_.scalar_type();
  const at::Tensor gradient_nv = scores_.view(dtype)
                                     .narrow(0, 0, scores_nv_.size(0))
                                     .narrow(1, 0, scores_nv_.size(1));
  // Its share of the softmax is 0, and 0 times an infinite exponential is NaN.
  if (only_padding_) return gradient_nv.zero_();
  kernel({.rows = RowsOf(scores_nv_, targets_n_, first_row_),
          .gradient_type = ElementTypeOf(dtype),
          .maximum = maximum_n_.const_data_ptr(),
          .share = share_n_.contiguous().const_data_ptr(),
          .scale = scale},
         scores_.device());
  return gradient_nv;
}

}  // namespace lextra
