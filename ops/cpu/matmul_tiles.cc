#include "ops/cpu/matmul_tiles.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace lextra {
namespace {

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
namespace avx512 {
#define LEXTRA_VECTOR_BYTES 64
#define LEXTRA_TILE_VECTORS 4
#include "ops/cpu/matmul_tile.inc"
#undef LEXTRA_TILE_VECTORS
#undef LEXTRA_VECTOR_BYTES
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
#define LEXTRA_VECTOR_BYTES 32
#define LEXTRA_TILE_VECTORS 2
#include "ops/cpu/matmul_tile.inc"
#undef LEXTRA_TILE_VECTORS
#undef LEXTRA_VECTOR_BYTES
}  // namespace avx2
#pragma GCC pop_options

namespace baseline {
#define LEXTRA_VECTOR_BYTES 16
#define LEXTRA_TILE_VECTORS 2
#include "ops/cpu/matmul_tile.inc"
#undef LEXTRA_TILE_VECTORS
#undef LEXTRA_VECTOR_BYTES
}  // namespace baseline

}  // namespace

template <typename Scalar>
const std::vector<MatrixTiles<Scalar>>& SupportedMatrixTiles() {
  static const std::vector<MatrixTiles<Scalar>> supported = [] {
    std::vector<MatrixTiles<Scalar>> tiles;
    if (__builtin_cpu_supports("x86-64-v4")) {
      tiles.push_back(avx512::Tiles<Scalar>("avx512"));
    }
    if (__builtin_cpu_supports("x86-64-v3")) {
      tiles.push_back(avx2::Tiles<Scalar>("avx2"));
    }
    tiles.push_back(baseline::Tiles<Scalar>("baseline"));
    return tiles;
  }();
  return supported;
}

template <typename Scalar>
const MatrixTiles<Scalar>& ChosenMatrixTiles() {
  static const MatrixTiles<Scalar>& chosen = []() -> auto& {
    const std::vector<MatrixTiles<Scalar>>& all =
        SupportedMatrixTiles<Scalar>();
    const char* name = std::getenv("LEXTRA_INSTRUCTION_SET");
    if (name == nullptr) return all[0];
    std::string supported;
    for (const MatrixTiles<Scalar>& tiles : all) {
      if (std::string_view(name) == tiles.instruction_set) return tiles;
      supported += std::string(" ") + tiles.instruction_set;
    }
    throw std::invalid_argument(std::string("LEXTRA_INSTRUCTION_SET=") + name +
                                ": unknown or not supported by this machine "
                                "(available:" +
                                supported + ")");
  }
  ();
  return chosen;
}

template const std::vector<MatrixTiles<float>>& SupportedMatrixTiles();
template const std::vector<MatrixTiles<double>>& SupportedMatrixTiles();
template const MatrixTiles<float>& ChosenMatrixTiles();
template const MatrixTiles<double>& ChosenMatrixTiles();

}  // namespace lextra
