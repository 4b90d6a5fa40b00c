#include "base/box.h"

#include <utility>

namespace lextra {
namespace {

// Elements [begin, end) of the part of the tensor whose first indices are
// `place`.
void AppendRange(const std::vector<int64_t>& shape,
                 const std::vector<int64_t>& place, int64_t begin, int64_t end,
                 std::vector<Box>* boxes) {
  if (begin >= end) return;
  const size_t dim = place.size();
  int64_t row_size = 1;
  for (size_t i = dim + 1; i < shape.size(); ++i) row_size *= shape[i];
  const auto append_within = [&](int64_t row, int64_t first, int64_t last) {
    std::vector<int64_t> longer = place;
    longer.push_back(row);
    AppendRange(shape, longer, first - row * row_size, last - row * row_size,
                boxes);
  };
  const int64_t first_whole = (begin + row_size - 1) / row_size;
  const int64_t end_whole = end / row_size;
  if (begin < first_whole * row_size) {
    append_within(first_whole - 1, begin,
                  std::min(end, first_whole * row_size));
  }
  if (first_whole < end_whole) {
    Box whole = Box::Whole(shape);
    for (size_t i = 0; i < dim; ++i) {
      whole.offset[i] = place[i];
      whole.shape[i] = 1;
    }
    whole.offset[dim] = first_whole;
    whole.shape[dim] = end_whole - first_whole;
    boxes->push_back(std::move(whole));
  }
  if (first_whole <= end_whole)
    append_within(end_whole, end_whole * row_size, end);
}

}  // namespace

std::vector<Box> BoxesOfRange(const std::vector<int64_t>& shape, int64_t begin,
                              int64_t end) {
  std::vector<Box> boxes;
  AppendRange(shape, {}, begin, end, &boxes);
  return boxes;
}

std::vector<Box> CutAtMultiples(const Box& box, int dim, int64_t extent) {
  std::vector<Box> parts;
  const int64_t end = box.offset[dim] + box.shape[dim];
  for (int64_t begin = box.offset[dim]; begin < end;) {
    const int64_t next = std::min(end, (begin / extent + 1) * extent);
    Box part = box;
    part.offset[dim] = begin;
    part.shape[dim] = next - begin;
    parts.push_back(std::move(part));
    begin = next;
  }
  return parts;
}

}  // namespace lextra
