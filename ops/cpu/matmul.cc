#include "ops/cpu/matmul.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "base/math.h"
#include "base/work_counter.h"

namespace lextra {
namespace {

// A panel of this many rows of b, and as many columns of the corresponding rows
// of a, fit into the L2 cache.
constexpr int64_t kInnerBlock = 384;
constexpr int64_t kRowBlock = 96;
constexpr int64_t kTileRows = MatrixTiles<float>::kMaxRows;
static_assert(kRowBlock % kTileRows == 0);
// Elements of b that are copied at a time: 4 MiB of fp32.
constexpr int64_t kPackedNumbers = 1 << 20;
// Multiplications that are worth one thread.
constexpr int64_t kGrain = 1 << 18;

// Copying an element takes as long as this many multiplications.
constexpr int64_t kCopyCost = 16;
constexpr int64_t kCacheLine = 64;  // bytes

// Rows this far apart would share few cache sets.
bool Collides(int64_t bytes) { return bytes % 2048 == 0; }

}  // namespace

template <typename Scalar>
void RightOperand<Scalar>::Pack(MatrixView<Scalar> b, int64_t inner,
                                int64_t columns, Scalar factor) {
  inner_ = inner;
  columns_ = columns;
  borrowed_.data = nullptr;
  const int64_t size = inner * RoundUp(columns, tiles_->vector_size);
  if (size > capacity_) {
    packed_ = std::make_unique_for_overwrite<Scalar[]>(size);
    capacity_ = size;
  }
  const int64_t num_panels = CeilDivide(columns, panel_columns());
  const int64_t grain = 1 + kGrain / kCopyCost / (inner * panel_columns() + 1);
  at::parallel_for(0, num_panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * panel_columns();
      const int64_t width = std::min(panel_columns(), columns - first);
      PackPanel(b.From(0, first), inner, width, factor,
                packed_.get() + first * inner);
    }
  });
}

template <typename Scalar>
void RightOperand<Scalar>::PackPanel(MatrixView<Scalar> b, int64_t inner,
                                     int64_t columns, Scalar factor,
                                     Scalar* to) const {
  const int64_t size = tiles_->vector_size;
  const int64_t pitch = RoundUp(columns, size);
  const auto copy = [&](int64_t first_row, int64_t end_row, int64_t first,
                        int64_t end) {
    for (int64_t k = first_row; k < end_row; ++k) {
      for (int64_t j = first; j < end; ++j) {
        to[k * pitch + j] = factor * b.data[k * b.row_step + j * b.column_step];
      }
    }
  };
  if (b.column_step == 1 || b.row_step != 1) {
    copy(0, inner, 0, columns);
  } else {
    const int64_t whole_rows = inner / size * size;
    const int64_t whole_columns = columns / size * size;
    for (int64_t j = 0; j < whole_columns; j += size) {
      for (int64_t k = 0; k < whole_rows; k += size) {
        tiles_->transpose(b.From(k, j).data, b.column_step, factor,
                          to + k * pitch + j, pitch);
      }
    }
    copy(whole_rows, inner, 0, columns);
    copy(0, whole_rows, whole_columns, columns);
  }
  for (int64_t k = 0; columns < pitch && k < inner; ++k) {
    std::fill(to + k * pitch + columns, to + (k + 1) * pitch, Scalar(0));
  }
}

template <typename Scalar>
void RightOperand<Scalar>::View(MatrixView<Scalar> b, int64_t inner,
                                int64_t columns) {
  // Vectors narrower than a line would use parts of lines that are far apart.
  const bool is_narrow =
      tiles_->vector_size * static_cast<int64_t>(sizeof(Scalar)) < kCacheLine;
  if (is_narrow || b.column_step != 1 || columns % tiles_->vector_size != 0 ||
      Collides(b.row_step * sizeof(Scalar))) {
    Pack(b, inner, columns);
    return;
  }
  inner_ = inner;
  columns_ = columns;
  borrowed_ = b;
}

template <typename Scalar>
void RightOperand<Scalar>::Multiply(MatrixView<Scalar> a, int64_t rows,
                                    int64_t columns, int64_t inner,
                                    ProductResult<Scalar> c) const {
  // An empty sum leaves c's initial value.
  for (int64_t k = 0; k < std::max<int64_t>(inner, 1); k += kInnerBlock) {
    const int64_t depth = std::min(kInnerBlock, inner - k);
    for (int64_t row = 0; row < rows; row += kRowBlock) {
      for (int64_t column = 0; column < columns; column += panel_columns()) {
        MultiplyPanel(
            a.From(row, k), std::min(kRowBlock, rows - row), column,
            std::min(panel_columns(), columns - column), k, depth,
            {c.data + row * c.row_step + column, c.row_step,
             c.bias == nullptr ? nullptr : c.bias + column, c.accumulate});
      }
      CountWork();
    }
    c.bias = nullptr;
    c.accumulate = true;
  }
}

template <typename Scalar>
void RightOperand<Scalar>::MultiplyPanel(MatrixView<Scalar> a, int64_t rows,
                                         int64_t first_column, int64_t columns,
                                         int64_t first_inner, int64_t inner,
                                         ProductResult<Scalar> c) const {
  const int64_t num_vectors = CeilDivide(columns, tiles_->vector_size);
  MatrixView<Scalar> b = borrowed_;
  if (b.data != nullptr) {
    b = b.From(first_inner, first_column);
  } else {
    const int64_t pitch =
        RoundUp(std::min(panel_columns(), columns_ - first_column),
                tiles_->vector_size);
    b = {packed_.get() + first_column * inner_ + first_inner * pitch, pitch, 1};
  }
  for (int64_t row = 0; row < rows; row += kTileRows) {
    const int64_t tile_rows = std::min(kTileRows, rows - row);
    tiles_->function[tile_rows - 1][num_vectors - 1](
        {.inner = inner,
         .a = a.From(row, 0).data,
         .a_row_step = a.row_step,
         .a_inner_step = a.column_step,
         .b = b.data,
         .b_inner_step = b.row_step,
         .bias = c.bias,
         .accumulate = c.accumulate,
         .c = c.data + row * c.row_step,
         .c_row_step = c.row_step,
         .last_columns = columns - (num_vectors - 1) * tiles_->vector_size});
  }
}

template <typename Scalar>
void MultiplyOnCpu(MatrixView<Scalar> a, MatrixView<Scalar> b, int64_t rows,
                   int64_t columns, int64_t inner,
                   const ProductResult<Scalar>& c,
                   const FinishRows& finish_rows,
                   const MatrixTiles<Scalar>& tiles) {
  const int64_t panel = tiles.num_vectors * tiles.vector_size;
  const int64_t block_columns = std::max(
      panel, kPackedNumbers / std::max<int64_t>(inner, 1) / panel * panel);
  RightOperand<Scalar> right(tiles);
  for (int64_t first = 0; first < columns; first += block_columns) {
    const int64_t width = std::min(block_columns, columns - first);
    const bool is_last = first + width == columns;
    right.View(b.From(0, first), inner, width);
    const auto multiply = [&](int64_t begin, int64_t end) {
      right.Multiply(
          a.From(begin, 0), end - begin, width, inner,
          {c.data + begin * c.row_step + first, c.row_step,
           c.bias == nullptr ? nullptr : c.bias + first, c.accumulate});
      if (is_last && finish_rows) finish_rows(begin, end);
    };
    // Whole tiles for each thread; with a function to call, blocks of rows that
    // stay in the cache.
    const int64_t rows_together = finish_rows ? kRowBlock : kTileRows;
    at::parallel_for(0, CeilDivide(rows, rows_together),
                     1 + kGrain / (rows_together * width * inner + 1),
                     [&](int64_t begin, int64_t end) {
                       const int64_t end_row =
                           std::min(rows, end * rows_together);
                       const int64_t step = finish_rows ? kRowBlock : end_row;
                       for (int64_t row = begin * rows_together; row < end_row;
                            row += step) {
                         multiply(row, std::min(end_row, row + step));
                       }
                     });
  }
}

template class RightOperand<float>;
template class RightOperand<double>;
template void MultiplyOnCpu(MatrixView<float>, MatrixView<float>, int64_t,
                            int64_t, int64_t, const ProductResult<float>&,
                            const FinishRows&, const MatrixTiles<float>&);
template void MultiplyOnCpu(MatrixView<double>, MatrixView<double>, int64_t,
                            int64_t, int64_t, const ProductResult<double>&,
                            const FinishRows&, const MatrixTiles<double>&);

}  // namespace lextra
