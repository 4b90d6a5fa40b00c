// A box of a tensor: the rectangle [offset, offset + shape) of its places. What
// a rank holds, what a file stores and what a reader wants are all boxes.
#ifndef LEXTRA_BASE_BOX_H_
#define LEXTRA_BASE_BOX_H_

#include <algorithm>
#include <cstdint>
#include <optional>
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

// The common part of two boxes of one tensor; nothing where they don't meet.
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

// Consecutive places of two boxes' elements, both in C order.
struct BoxRun {
  int64_t from = 0;  // in elements from the box's first
  int64_t to = 0;
  int64_t count = 0;
};

// How the elements of `common` lie in the box `from` and in the box `to`, which
// both hold all of it: the longest runs, in C order.
std::vector<BoxRun> RunsOf(const Box& common, const Box& from, const Box& to);

// `box` cut wherever a multiple of `extent` along `dim` lies inside it.
std::vector<Box> CutAtMultiples(const Box& box, int dim, int64_t extent);

}  // namespace lextra

#endif  // LEXTRA_BASE_BOX_H_
