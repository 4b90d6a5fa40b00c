#include "base/box.h"

#include <utility>

namespace lextra {
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
