#include "base/box.h"

#include <algorithm>
#include <set>
#include <utility>

namespace lextra {
namespace {

// The dimension that separates the boxes best.
size_t SweepDim(const std::vector<Box>& boxes) {
  size_t best = 0;
  size_t most = 0;
  for (size_t dim = 0; dim < boxes[0].offset.size(); ++dim) {
    std::set<int64_t> offsets;
    for (const Box& box : boxes) offsets.insert(box.offset[dim]);
    if (offsets.size() > most) {
      most = offsets.size();
      best = dim;
    }
  }
  return best;
}

}  // namespace
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

bool LiesWithin(const Box& box, const std::vector<int64_t>& shape) {
  if (box.offset.size() != shape.size() || box.shape.size() != shape.size()) {
    return false;
  }
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (box.offset[dim] < 0 || box.shape[dim] < 1 ||
        box.shape[dim] > shape[dim] ||
        box.offset[dim] > shape[dim] - box.shape[dim]) {
      return false;
    }
  }
  return true;
}

std::optional<std::pair<Box, Box>> FindOverlap(std::vector<Box> boxes) {
  if (boxes.size() < 2) return std::nullopt;
  if (boxes[0].offset.empty()) return std::pair(boxes[0], boxes[1]);
  const size_t dim = SweepDim(boxes);
  std::sort(boxes.begin(), boxes.end(), [dim](const Box& a, const Box& b) {
    return a.offset[dim] < b.offset[dim];
  });
  for (size_t i = 0; i < boxes.size(); ++i) {
    const int64_t end = boxes[i].offset[dim] + boxes[i].shape[dim];
    for (size_t j = i + 1; j < boxes.size() && boxes[j].offset[dim] < end;
         ++j) {
      if (Intersect(boxes[i], boxes[j])) return std::pair(boxes[i], boxes[j]);
    }
  }
  return std::nullopt;
}

}  // namespace lextra
