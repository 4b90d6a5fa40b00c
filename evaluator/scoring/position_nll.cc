#include "evaluator/scoring/position_nll.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "parallel/device_copy.h"

namespace lextra {
namespace {

int64_t BinOf(int64_t place) {
  return std::bit_width(static_cast<uint64_t>(place));
}

int64_t FirstPlaceOf(int64_t bin) {
  return bin == 0 ? 0 : int64_t{1} << (bin - 1);
}

// Of sums [documents, 2].
NllStatistics StatisticsOf(const at::Tensor& by_document) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor sums = by_document.select(1, 0);
  const at::Tensor counts = by_document.select(1, 1);
  const double tokens = counts.sum().item<double>();
  const auto documents =
      static_cast<double>(counts.count_nonzero().item<int64_t>());
  NllStatistics result = {.tokens = static_cast<int64_t>(tokens),
                          .documents = static_cast<int64_t>(documents),
                          .nll = kNone,
                          .standard_error = kNone};
  if (tokens == 0) return result;
  result.nll = sums.sum().item<double>() / tokens;
  if (documents < 2) return result;
  const double squares =
      (sums - result.nll * counts).square().sum().item<double>();
  result.standard_error =
      std::sqrt(documents / (documents - 1) * squares) / tokens;
  return result;
}

}  // namespace

PositionNll::PositionNll(int64_t num_documents, int64_t num_places)
    : sums_(at::zeros(
          {num_documents, BinOf(std::max<int64_t>(0, num_places - 1)) + 1, 2},
          at::kDouble)) {}

void PositionNll::Add(int64_t document, int64_t first,
                      const at::Tensor& nll_T) {
  TORCH_CHECK(nll_T.dim() == 1 && nll_T.scalar_type() == at::kDouble,
              "NLL is fp64 [n], not ", nll_T.scalar_type(), " ", nll_T.sizes());
  double* sums = SumsOf(document).mutable_data_ptr<double>();
  const int64_t end = first + nll_T.size(0);
  for (int64_t begin = first; begin < end;) {
    const int64_t bin = BinOf(begin);
    TORCH_CHECK(bin < sums_.size(1), "place ", begin, " of pieces with ",
                sums_.size(1), " bins of places");
    const int64_t count = std::min(end, FirstPlaceOf(bin + 1)) - begin;
    sums[2 * bin] += nll_T.narrow(0, begin - first, count).sum().item<double>();
    sums[2 * bin + 1] += static_cast<double>(count);
    begin += count;
  }
}

void PositionNll::AllReduce(Communicator& data_axis) {
  AllReduceOnHost(sums_, ReduceOp::kSum, data_axis);
}

NllStatistics PositionNll::Whole() const { return StatisticsOf(sums_.sum(1)); }

std::vector<PlaceBin> PositionNll::ByPlace() const {
  std::vector<PlaceBin> bins;
  for (int64_t bin = 0; bin < sums_.size(1); ++bin) {
    const NllStatistics statistics = StatisticsOf(sums_.select(1, bin));
    if (statistics.tokens == 0) continue;
    bins.push_back({.first = FirstPlaceOf(bin),
                    .last = FirstPlaceOf(bin + 1) - 1,
                    .of_targets = statistics});
  }
  return bins;
}

}  // namespace lextra
