// Which keys queries see if a document is cut into blocks of h places
// (docs/method.md section 2): a short list of rectangles and triangles for a
// block of queries and each block of keys that it sees.
#ifndef LEXTRA_MODEL_ATTENTION_BLOCK_MASK_H_
#define LEXTRA_MODEL_ATTENTION_BLOCK_MASK_H_

#include <cstdint>
#include <vector>

namespace lextra {

// A query sees its own block causally, and of the blocks before it
//   window 0 (BCA)  all of the previous one;
//   window W >= h   the last W keys, its own included.
// With `sinks` it also sees that many first keys of the document once the
// window has left them; sinks <= h.
struct BlockMask {
  int64_t block = 0;  // h
  int64_t window = 0;
  int64_t sinks = 0;

  // Number of blocks before its own that a query may see.
  int64_t Reach() const;
};

// Queries and keys of two blocks, by place: all pairs, or, in a triangle with
// as many queries as keys, query i and keys i, i + 1, ...
struct MaskRegion {
  int64_t first_query = 0;
  int64_t num_queries = 0;
  int64_t first_key = 0;
  int64_t num_keys = 0;
  bool is_triangle = false;
};

// What queries of a block see of the block `back` >= 1 blocks before it:
// disjoint regions.
std::vector<MaskRegion> RegionsOf(const BlockMask& mask, int64_t back);

// What queries at places first .. first + count - 1 of a document see of sinks
// that are no longer in the window: query `first` sees sinks 0 .. seen - 1; in
// a corner each further query sees one more. `is_corner` false: all see the
// same, at one distance.
struct SinkRegion {
  int64_t first = 0;
  int64_t count = 0;
  int64_t seen = 0;
  bool is_corner = false;
};
std::vector<SinkRegion> SinkRegionsOf(const BlockMask& mask, int64_t first,
                                      int64_t count);

}  // namespace lextra

#endif  // LEXTRA_MODEL_ATTENTION_BLOCK_MASK_H_
