// Matrix products on CPUs by our own tiles (matmul_tiles.h). BLAS copies both
// operands at every call, which is costly for the narrow products of small
// models (docs/results/cpu.md). Here only the right operand is copied, and only
// if its rows are not contiguous.
//
// The order of additions depends only on the sizes: results are the same for
// any number of threads.
#ifndef LEXTRA_OPS_CPU_MATMUL_H_
#define LEXTRA_OPS_CPU_MATMUL_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "ops/cpu/matmul_tiles.h"

namespace lextra {

// Element (i, j) is data[i * row_step + j * column_step].
template <typename Scalar>
struct MatrixView {
  const Scalar* data;
  int64_t row_step;
  int64_t column_step;

  MatrixView Transposed() const { return {data, column_step, row_step}; }
  MatrixView From(int64_t row, int64_t column) const {
    return {data + row * row_step + column * column_step, row_step,
            column_step};
  }
};

// The output of a product; rows are contiguous.
template <typename Scalar>
struct ProductResult {
  Scalar* data;
  int64_t row_step;
  const Scalar* bias = nullptr;  // [columns], initial value of each row
  bool accumulate = false;       // without bias: adds to the output
};

// The right operand [inner, columns] in panels as wide as a tile.
template <typename Scalar>
class RightOperand {
 public:
  explicit RightOperand(
      const MatrixTiles<Scalar>& tiles = ChosenMatrixTiles<Scalar>())
      : tiles_(&tiles) {}

  // Copies factor * b. A second call reuses the memory of the first.
  void Pack(MatrixView<Scalar> b, int64_t inner, int64_t columns,
            Scalar factor = 1);
  // Refers to b if its rows allow it, otherwise copies it.
  void View(MatrixView<Scalar> b, int64_t inner, int64_t columns);

  // c = a b on the calling thread, for the first `columns` and `inner` of b at
  // most. a is [rows, inner].
  void Multiply(MatrixView<Scalar> a, int64_t rows, int64_t columns,
                int64_t inner, ProductResult<Scalar> c) const;

 private:
  int64_t panel_columns() const {
    return tiles_->num_vectors * tiles_->vector_size;
  }
  void PackPanel(MatrixView<Scalar> b, int64_t inner, int64_t columns,
                 Scalar factor, Scalar* to) const;
  void MultiplyPanel(MatrixView<Scalar> a, int64_t rows, int64_t first_column,
                     int64_t columns, int64_t first_inner, int64_t inner,
                     ProductResult<Scalar> c) const;

  const MatrixTiles<Scalar>* tiles_;
  int64_t inner_ = 0;
  int64_t columns_ = 0;
  // Set if b is not copied; otherwise no data.
  MatrixView<Scalar> borrowed_ = {nullptr, 0, 0};
  std::unique_ptr<Scalar[]> packed_;
  int64_t capacity_ = 0;
};

// Epilogue of a product for rows begin .. end - 1, called once for each row by
// the thread that computed it, while it is in its cache.
using FinishRows = std::function<void(int64_t begin, int64_t end)>;

// c = a b on LibTorch's threads; a [rows, inner], b [inner, columns].
template <typename Scalar>
void MultiplyOnCpu(
    MatrixView<Scalar> a, MatrixView<Scalar> b, int64_t rows, int64_t columns,
    int64_t inner, const ProductResult<Scalar>& c,
    const FinishRows& finish_rows = nullptr,
    const MatrixTiles<Scalar>& tiles = ChosenMatrixTiles<Scalar>());

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_MATMUL_H_
