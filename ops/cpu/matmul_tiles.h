// The innermost loops of matrix products on CPUs, one set per instruction set:
// a tile of the result stays in registers while the inner dimension is
// traversed (Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix
// Multiplication"; the left operand is read in place).
#ifndef LEXTRA_OPS_CPU_MATMUL_TILES_H_
#define LEXTRA_OPS_CPU_MATMUL_TILES_H_

#include <cstdint>
#include <vector>

namespace lextra {

// One tile: c[i, j] = (sum over k of a[i, k] b[k, j]) + c's initial value. Rows
// of b and c are contiguous; steps are in elements.
template <typename Scalar>
struct TileArguments {
  int64_t inner;
  const Scalar* a;
  int64_t a_row_step;
  int64_t a_inner_step;
  const Scalar* b;
  int64_t b_inner_step;
  const Scalar* bias;  // initial value of each row of c; null: see accumulate
  bool accumulate;     // initial value is c itself, otherwise 0
  Scalar* c;
  int64_t c_row_step;
  int64_t last_columns;  // columns of c in the tile's last vector
};

template <typename Scalar>
struct MatrixTiles {
  static constexpr int kMaxRows = 6;
  static constexpr int kMaxVectors = 4;
  using Function = void (*)(const TileArguments<Scalar>&);

  // to[j, i] = factor * from[i, j], a square of vector_size numbers.
  using TransposeFunction = void (*)(const Scalar* from, int64_t from_row_step,
                                     Scalar factor, Scalar* to,
                                     int64_t to_row_step);

  const char* instruction_set;
  int vector_size;  // numbers in a vector
  int num_vectors;  // a full tile is this many vectors wide
  // [rows - 1][vectors - 1] of a tile.
  Function function[kMaxRows][kMaxVectors];
  TransposeFunction transpose;
};

// The sets that this machine supports, fastest first: avx512, avx2, baseline.
template <typename Scalar>
const std::vector<MatrixTiles<Scalar>>& SupportedMatrixTiles();

// The one named by the environment variable LEXTRA_INSTRUCTION_SET (for tests),
// otherwise the fastest. Throws std::invalid_argument if this machine does not
// support the named one. Instances of both for float and double.
template <typename Scalar>
const MatrixTiles<Scalar>& ChosenMatrixTiles();

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_MATMUL_TILES_H_
