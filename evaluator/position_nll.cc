#include "evaluator/position_nll.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "parallel/device_copy.h"

namespace lextra {
namespace {

constexpr int64_t kNumBins = 64;

int64_t BinOf(int64_t place) {
  return std::bit_width(static_cast<uint64_t>(place));
}

int64_t FirstPlaceOf(int64_t bin) {
  return bin == 0 ? 0 : int64_t{1} << (bin - 1);
}

void AddTo(const at::Tensor& sums, int64_t row, double nll, int64_t count) {
  double* sum = sums.mutable_data_ptr<double>() + 2 * row;
  sum[0] += nll;
  sum[1] += static_cast<double>(count);
}

}  // namespace

PositionNll::PositionNll(int64_t num_documents)
    : by_document_(at::zeros({num_documents, 2}, at::kDouble)),
      by_place_(at::zeros({kNumBins, 2}, at::kDouble)) {}

void PositionNll::Add(int64_t document, int64_t first,
                      const at::Tensor& nll_T) {
  TORCH_CHECK(nll_T.dim() == 1 && nll_T.scalar_type() == at::kDouble,
              "NLL is fp64 [n], not ", nll_T.scalar_type(), " ", nll_T.sizes());
  const int64_t end = first + nll_T.size(0);
  AddTo(by_document_, document, nll_T.sum().item<double>(), nll_T.size(0));
  for (int64_t begin = first; begin < end;) {
    const int64_t bin = BinOf(begin);
    const int64_t count = std::min(end, FirstPlaceOf(bin + 1)) - begin;
    AddTo(by_place_, bin,
          nll_T.narrow(0, begin - first, count).sum().item<double>(), count);
    begin += count;
  }
}

void PositionNll::AllReduce(Communicator& data_axis) {
  AllReduceOnHost(by_document_, ReduceOp::kSum, data_axis);
  AllReduceOnHost(by_place_, ReduceOp::kSum, data_axis);
}

int64_t PositionNll::num_tokens() const {
  return static_cast<int64_t>(by_document_.select(1, 1).sum().item<double>());
}

int64_t PositionNll::num_documents() const {
  return by_document_.select(1, 1).count_nonzero().item<int64_t>();
}

double PositionNll::Mean() const {
  if (num_tokens() == 0) return std::numeric_limits<double>::quiet_NaN();
  return by_document_.select(1, 0).sum().item<double>() / num_tokens();
}

double PositionNll::StandardError() const {
  const double documents = static_cast<double>(num_documents());
  const at::Tensor residual =
      by_document_.select(1, 0) - Mean() * by_document_.select(1, 1);
  const double squares = residual.square().sum().item<double>();
  if (documents < 2) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(documents / (documents - 1) * squares) / num_tokens();
}

double PositionNll::BitsPerByte(double num_bytes) const {
  return Mean() * num_tokens() / std::numbers::ln2 / num_bytes;
}

std::vector<PlaceBin> PositionNll::ByPlace() const {
  std::vector<PlaceBin> bins;
  for (int64_t bin = 0; bin < kNumBins; ++bin) {
    const double* sum = by_place_.const_data_ptr<double>() + 2 * bin;
    if (sum[1] == 0) continue;
    bins.push_back({.first = FirstPlaceOf(bin),
                    .last = FirstPlaceOf(bin + 1) - 1,
                    .tokens = static_cast<int64_t>(sum[1]),
                    .nll = sum[0] / sum[1]});
  }
  return bins;
}

}  // namespace lextra
