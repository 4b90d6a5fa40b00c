// A box of a tensor: the rectangle [offset, offset + shape) of its places. What
// a rank holds, what a file stores and what a reader wants are all boxes.
#ifndef LEXTRA_BASE_BOX_H_
#define LEXTRA_BASE_BOX_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace lextra {

struct Box {
  std::vector<int64_t> offset;
  std::vector<int64_t> shape;

  friend bool operator==(const Box&, const Box&) = default;

  // The whole of a tensor of this shape.
  static Box Whole(std::vector<int64_t> shape) {
    return {std::vector<int64_t>(shape.size(), 0), std::move(shape)};
  }

  int64_t num_elements() const {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    return count;
  }
};

// The intersection of two boxes of one tensor; nullopt if it is empty.
inline std::optional<Box> Intersect(const Box& a, const Box& b) {
  Box common;
  for (size_t dim = 0; dim < a.offset.size(); ++dim) {
    const int64_t begin = std::max(a.offset[dim], b.offset[dim]);
    const int64_t end =
        std::min(a.offset[dim] + a.shape[dim], b.offset[dim] + b.shape[dim]);
    if (end <= begin) return std::nullopt;
    common.offset.push_back(begin);
    common.shape.push_back(end - begin);
  }
  return common;
}

// Whether all of `inner` lies in `outer`.
inline bool Contains(const Box& outer, const Box& inner) {
  for (size_t dim = 0; dim < outer.offset.size(); ++dim) {
    if (inner.offset[dim] < outer.offset[dim] ||
        inner.offset[dim] + inner.shape[dim] >
            outer.offset[dim] + outer.shape[dim]) {
      return false;
    }
  }
  return true;
}

// Whether `box` is a part of a tensor of this shape: as many dimensions, no
// extent below 1, nothing outside.
bool LiesWithin(const Box& box, const std::vector<int64_t>& shape);

// Two of these boxes of one tensor that overlap, if any do. Only boxes that
// overlap along one dimension are compared, so thousands of slices take no
// time.
std::optional<std::pair<Box, Box>> FindOverlap(std::vector<Box> boxes);

// Calls take(from, to, count) for each run of elements of `common` that is
// contiguous in both `from_box` and `to_box`, which both contain all of it:
// `count` elements that start at element `from` of one and `to` of the other.
// The longest such runs, in C order.
template <typename Take>
void ForEachRun(const Box& common, const Box& from_box, const Box& to_box,
                Take take) {
  const auto index_in = [](const Box& box, const std::vector<int64_t>& place) {
    int64_t index = 0;
    for (size_t dim = 0; dim < place.size(); ++dim) {
      index = index * box.shape[dim] + (place[dim] - box.offset[dim]);
    }
    return index;
  };
  // A run spans all trailing dimensions that are whole in both boxes, and the
  // one before them.
  size_t num_outer = common.shape.size();
  int64_t count = 1;
  while (num_outer > 0) {
    const size_t dim = --num_outer;
    count *= common.shape[dim];
    if (common.shape[dim] != from_box.shape[dim] ||
        common.shape[dim] != to_box.shape[dim]) {
      break;
    }
  }
  std::vector<int64_t> place = common.offset;
  while (true) {
    take(index_in(from_box, place), index_in(to_box, place), count);
    size_t dim = num_outer;
    while (dim > 0 &&
           ++place[dim - 1] == common.offset[dim - 1] + common.shape[dim - 1]) {
      place[dim - 1] = common.offset[dim - 1];
      --dim;
    }
    if (dim == 0) return;
  }
}

// The boxes that elements [begin, end), in C order, of a tensor of this shape
// form: partial rows at both ends and the whole rows between them (at most 2
// dims - 1 boxes, in order).
std::vector<Box> BoxesOfRange(const std::vector<int64_t>& shape, int64_t begin,
                              int64_t end);

// `box` cut at every multiple of `extent` along `dim` that lies inside it.
std::vector<Box> CutAtMultiples(const Box& box, int dim, int64_t extent);

}  // namespace lextra

#endif  // LEXTRA_BASE_BOX_H_
