// The equations of ops/cpu/norm.h on a GPU, for all rows.
#ifndef LEXTRA_OPS_CUDA_NORM_H_
#define LEXTRA_OPS_CUDA_NORM_H_

#include <cstdint>

#include "ops/cuda/element_type.h"

namespace lextra {

// Whole rows go through all stages in one kernel. Rows split over ranks take
// one kernel per stage, and its sums are reduced over the ranks before the
// next.
enum class NormStage {
  kAll,
  kMean,          // forward: mean <- the row's sum / width
  kVariance,      // forward: rstd <- the sum of (x - mean)^2 / width
  kGradientSums,  // backward: sums <- those of g and of g xhat
  kResult,        // y and rstd; dx and dparameters
};

// Device pointers to [rows, columns] and [columns] elements; mean, rstd, sums
// and dparameters are double for double elements, else float.
struct NormalizeRowsCuda {
  static constexpr char kName[] = "normalize_rows";
  ElementType type;
  NormStage stage;
  const void* x;
  const void* branch;  // not null: sum <- x + branch is what is normalized
  void* sum;
  const void* weight;
  const void* bias;  // may be null
  void* mean;        // [rows]; 0 before RMS norm
  void* rstd;        // [rows]
  void* y;
  int64_t rows;
  int64_t columns;
  int64_t width;  // columns of all ranks
  bool centered;
  double epsilon;
};
const char* LaunchNormalizeRows(const NormalizeRowsCuda& arguments,
                                void* stream);

// Rows per thread block, which sums their parameters' gradients.
constexpr int64_t kNormRowsPerBlock = 16;

struct NormalizeRowsGradientCuda {
  static constexpr char kName[] = "normalize_rows_gradient";
  ElementType type;
  NormStage stage;
  const void* x;
  const void* weight;
  const void* mean;
  const void* rstd;
  const void* dy;
  const void* dx_from_residual;  // added to dx; may be null
  void* dx;
  void* sums;         // [rows, 2]; null in stage kAll
  void* dparameters;  // [rows / kNormRowsPerBlock, 2, columns], rounded up:
                      // of weight and bias
  int64_t rows;
  int64_t columns;
  int64_t width;
  bool centered;
};
const char* LaunchNormalizeRowsGradient(
    const NormalizeRowsGradientCuda& arguments, void* stream);

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_NORM_H_
