// All kernels of this folder, as the module lextra_cuda.so hands them to the
// program (ops/cuda_library.h).
#ifndef LEXTRA_OPS_CUDA_KERNELS_H_
#define LEXTRA_OPS_CUDA_KERNELS_H_

#include "ops/cuda/gelu.h"
#include "ops/cuda/norm.h"
#include "ops/cuda/rotary.h"
#include "ops/cuda/softmax.h"
#include "ops/cuda/swiglu.h"

namespace lextra {

// Queues the work that `Arguments` (sizes and raw device pointers) describe on
// a stream; returns null or an error text.
template <typename Arguments>
using CudaLauncher = const char*(const Arguments& arguments, void* stream);

struct CudaKernels {
  CudaLauncher<GeluGradientCuda>* gelu_gradient;
  CudaLauncher<NormalizeRowsCuda>* normalize_rows;
  CudaLauncher<NormalizeRowsGradientCuda>* normalize_rows_gradient;
  CudaLauncher<RotatePairsCuda>* rotate_pairs;
  CudaLauncher<ScoreStatisticsCuda>* score_statistics;
  CudaLauncher<ScoreGradientCuda>* score_gradient;
  CudaLauncher<SwiGluCuda>* swi_glu;
  CudaLauncher<SwiGluGradientCuda>* swi_glu_gradient;
};

// Those that are linked here.
CudaKernels LinkedCudaKernels();

}  // namespace lextra

#endif  // LEXTRA_OPS_CUDA_KERNELS_H_
