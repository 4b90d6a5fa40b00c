// The innermost loops of matrix products on CPUs, one set for each instruction
// set: a tile of the result stays in registers while the inner dimension is
// walked (Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix
// Multiplication"; the left operand is read where it stands).
#ifndef LEXTRA_OPS_CPU_MATMUL_TILES_H_
#define LEXTRA_OPS_CPU_MATMUL_TILES_H_

#include <cstdint>
#include <vector>

namespace lextra {

// One tile: c[i, j] = (sum over k of a[i, k] b[k, j]) + what c starts from.
// Rows of b and c are contiguous and steps are in elements.
template <typename Scalar>
struct TileArguments {
  int64_t inner;
  const Scalar* a;
  int64_t a_row_step;
  int64_t a_inner_step;
  const Scalar* b;
  int64_t b_inner_step;
  const Scalar* bias;  // what each row of c starts from; null: see accumulate
  bool accumulate;     // c starts from itself, otherwise from 0
  Scalar* c;
  int64_t c_row_step;
  int64_t last_columns;  // columns of c in the tile's last vector
};

template <typename Scalar>
struct MatrixTiles {
  static constexpr int kMaxRows = 6;
  static constexpr int kMaxVectors = 4;
  using Function = void (*)(const TileArguments<Scalar>&);

  // to[j, i] = factor from[i, j], a square of vector_size numbers.
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

// Those that this machine runs, the fastest first: avx512, avx2, baseline.
template <typename Scalar>
const std::vector<MatrixTiles<Scalar>>& SupportedMatrixTiles();

// The one that the environment variable LEXTRA_INSTRUCTION_SET names, for
// tests, otherwise the fastest. Throws std::invalid_argument where this machine
// does not run the one that is named. Instances of both for float and double.
template <typename Scalar>
const MatrixTiles<Scalar>& ChosenMatrixTiles();

}  // namespace lextra

#endif  // LEXTRA_OPS_CPU_MATMUL_TILES_H_
