#include "model/attention/block_mask.h"

#include <algorithm>

#include "base/math.h"

namespace lextra {

int64_t BlockMask::Reach() const {
  if (window == 0) return 1;
  return CeilDivide(window - 1, block);
}

std::vector<MaskRegion> RegionsOf(const BlockMask& mask, int64_t back) {
  const int64_t h = mask.block;
  const MaskRegion all = {.num_queries = h, .num_keys = h};
  if (mask.window == 0) return {all};
  // Query a sees key j from j >= a + shift on.
  const int64_t shift = back * h - mask.window + 1;
  if (shift >= h) return {};
  if (shift <= 1 - h) return {all};
  if (shift >= 0) {
    return {{.num_queries = h - shift,
             .first_key = shift,
             .num_keys = h - shift,
             .is_triangle = true}};
  }
  // The first queries see all; each further one loses one more key.
  const int64_t whole = -shift;
  return {{.num_queries = whole, .num_keys = h},
          {.first_query = whole,
           .num_queries = h - whole,
           .num_keys = h - whole,
           .is_triangle = true},
          {.first_query = whole,
           .num_queries = h - whole,
           .first_key = h - whole,
           .num_keys = whole}};
}

std::vector<SinkRegion> SinkRegionsOf(const BlockMask& mask, int64_t first,
                                      int64_t count) {
  if (mask.sinks == 0) return {};
  const int64_t end = first + count;
  // Query t sees sinks up to t - window: one at t = window, all from here on.
  const int64_t all_seen = mask.window + mask.sinks - 1;
  std::vector<SinkRegion> regions;
  const int64_t corner = std::max(first, mask.window);
  const int64_t corner_end = std::min(end, all_seen);
  if (corner < corner_end) {
    regions.push_back({.first = corner,
                       .count = corner_end - corner,
                       .seen = corner - mask.window + 1,
                       .is_corner = true});
  }
  const int64_t constant = std::max(first, all_seen);
  if (constant < end) {
    regions.push_back(
        {.first = constant, .count = end - constant, .seen = mask.sinks});
  }
  return regions;
}

}  // namespace lextra
