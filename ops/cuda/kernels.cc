#include "ops/cuda/kernels.h"

namespace lextra {

CudaKernels LinkedCudaKernels() {
  return {
      .gelu_gradient = LaunchGeluGradient,
      .normalize_rows = LaunchNormalizeRows,
      .normalize_rows_gradient = LaunchNormalizeRowsGradient,
      .rotate_pairs = LaunchRotatePairs,
      .score_statistics = LaunchScoreStatisticsKernel,
      .score_gradient = LaunchScoreGradientKernel,
      .swi_glu = LaunchSwiGlu,
      .swi_glu_gradient = LaunchSwiGluGradient,
  };
}

}  // namespace lextra
