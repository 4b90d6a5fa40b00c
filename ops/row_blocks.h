// Sums over rows (of a weight's or a bias's gradient) that do not depend on the
// number of threads: rows of a block are added in order by one thread, and the
// blocks' sums in block order.
#ifndef LEXTRA_OPS_ROW_BLOCKS_H_
#define LEXTRA_OPS_ROW_BLOCKS_H_

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "base/math.h"
#include "base/work_counter.h"

namespace lextra {

inline constexpr int64_t kBlockRows = 64;

inline int64_t NumBlocks(int64_t rows) { return CeilDivide(rows, kBlockRows); }

// visit(begin, end) for the rows of each block, on LibTorch's threads.
template <typename Visit>
void ForEachRowBlock(int64_t rows, const Visit& visit) {
  at::parallel_for(0, NumBlocks(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      visit(block * kBlockRows, std::min(rows, (block + 1) * kBlockRows));
      CountWork();
    }
  });
}

}  // namespace lextra

#endif  // LEXTRA_OPS_ROW_BLOCKS_H_
