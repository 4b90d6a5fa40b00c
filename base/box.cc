#include "base/box.h"

namespace lextra {
namespace {

// Elements before place `place` of the tensor in the box, in C order.
int64_t PlaceIn(const Box& box, const std::vector<int64_t>& place) {
  int64_t index = 0;
  for (size_t dim = 0; dim < place.size(); ++dim) {
    index = index * box.shape[dim] + (place[dim] - box.offset[dim]);
  }
  return index;
}

}  // namespace

std::vector<BoxRun> RunsOf(const Box& common, const Box& from, const Box& to) {
  // A run goes through all trailing dimensions that are whole in both boxes,
  // and through the one before them.
  size_t num_outer = common.shape.size();
  int64_t count = 1;
  while (num_outer > 0) {
    const size_t dim = --num_outer;
    count *= common.shape[dim];
    if (common.shape[dim] != from.shape[dim] ||
        common.shape[dim] != to.shape[dim]) {
      break;
    }
  }
  std::vector<BoxRun> runs;
  std::vector<int64_t> place = common.offset;
  while (true) {
    runs.push_back({PlaceIn(from, place), PlaceIn(to, place), count});
    size_t dim = num_outer;
    while (dim > 0 &&
           ++place[dim - 1] == common.offset[dim - 1] + common.shape[dim - 1]) {
      place[dim - 1] = common.offset[dim - 1];
      --dim;
    }
    if (dim == 0) return runs;
  }
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
