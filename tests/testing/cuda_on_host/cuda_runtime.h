// As much of the CUDA runtime as our .cu files use, on the CPU: found instead
// of CUDA's own header where tests compile them as C++. A launch returns when
// the kernel is done. The threads of a block are fibers of one thread that take
// turns at barriers and shuffles, so results repeat exactly; each warp runs as
// far as the next barrier of the block, and blocks run one after the other.
// Shared memory is static and keeps what the last block left there, so a kernel
// that relies on its being zero fails here as it would on a GPU.
#ifndef LEXTRA_TESTS_TESTING_CUDA_ON_HOST_CUDA_RUNTIME_H_
#define LEXTRA_TESTS_TESTING_CUDA_ON_HOST_CUDA_RUNTIME_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)
      : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};

// Of the fiber that runs.
extern dim3 threadIdx;
extern dim3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
inline const char* cudaGetErrorString(cudaError_t) {
  return "invalid configuration argument";
}
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

// Runs body once for each thread of each block.
cudaError_t RunOnHost(dim3 grid, dim3 block, const std::function<void()>& body);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Parameters...),
                               Arguments... arguments) {
  return RunOnHost(config->gridDim, config->blockDim,
                   [&] { kernel(arguments...); });
}

// All threads of the block (of the warp) arrive here before any continues. A
// block that is stuck, because some threads wait and others have ended or wait
// elsewhere, ends the program.
void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffff);

// The 8 bytes of `mine`'s lane `lane` of the same warp.
uint64_t ExchangeInWarp(uint64_t mine, int lane);

template <typename T>
T ShuffleOnHost(T mine, int lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &mine, sizeof(T));
  bits = ExchangeInWarp(bits, lane);
  T theirs;
  std::memcpy(&theirs, &bits, sizeof(T));
  return theirs;
}
template <typename T>
T __shfl_sync(unsigned, T mine, int lane) {
  return ShuffleOnHost(mine, lane);
}
template <typename T>
T __shfl_xor_sync(unsigned, T mine, int mask) {
  return ShuffleOnHost(mine, static_cast<int>(threadIdx.x % 32) ^ mask);
}

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

#endif  // LEXTRA_TESTS_TESTING_CUDA_ON_HOST_CUDA_RUNTIME_H_
