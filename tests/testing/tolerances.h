// The table of tolerances, by quantity and dtype; docs/numerics.md says what
// each bounds and why. Relative to the largest element of the reference unless
// it says otherwise.
#ifndef LEXTRA_TESTS_TESTING_TOLERANCES_H_
#define LEXTRA_TESTS_TESTING_TOLERANCES_H_

#include <limits>

namespace lextra::testing {

struct Tolerance {
  double fp64;
  double fp32;
  // Where nothing is tested in bf16, no difference is small enough.
  double bf16 = -std::numeric_limits<double>::infinity();

  // Of an at::ScalarType or a Precision; tests without LibTorch include this.
  template <typename Dtype>
  constexpr double operator()(Dtype dtype) const {
    if constexpr (requires { Dtype::FP64; }) {
      return dtype == Dtype::FP64 ? fp64 : dtype == Dtype::FP32 ? fp32 : bf16;
    } else {
      return dtype == Dtype::Double  ? fp64
             : dtype == Dtype::Float ? fp32
                                     : bf16;
    }
  }
};

// One rectangle of attention on a CPU against dense fp64: out, log-sum-exp,
// gradients; or to 1 if the largest element is smaller.
inline constexpr Tolerance kAttentionPart = {1e-13, 3e-6};
// The operators of a GPU, likewise. bf16 rounds inputs to 2^-9 and the result
// once more; gradients go through probabilities that are rounded as well.
inline constexpr Tolerance kAttentionOperator = {1e-13, 5e-6, 1e-2};
inline constexpr Tolerance kAttentionOperatorGradient = {1e-13, 5e-6, 2e-2};
// BCA against the golden vectors, whose files are rounded to 5e-7.
inline constexpr Tolerance kBlockwiseAttention = {5e-7, 4e-6};
// Blocks of several documents against each document alone.
inline constexpr Tolerance kBlockwiseDocuments = {1e-12, 4e-6};
// Keys in several pieces against a dense mask in fp64.
inline constexpr Tolerance kPiecewiseAttention = {1e-12, 1e-5, 1e-2};
inline constexpr Tolerance kPiecewiseAttentionGradient = {1e-12, 1e-5, 2e-2};
// Layer norm and RMS norm against ATen's.
inline constexpr Tolerance kNormPass = {1e-12, 3e-6};
// Kernels against the same on a CPU; rounding to bf16 may differ in the last
// place.
inline constexpr Tolerance kKernel = {1e-12, 3e-6, 1.0 / 128};
// Sharded layers against dense ones: outputs and gradients.
inline constexpr Tolerance kShardedLayer = {1e-12, 5e-6};
// A sharded model against a whole one: loss and gradients of one step.
inline constexpr Tolerance kShardedModel = {1e-11, 2e-5};
// Ten steps at any layout against one rank: losses, and the norms of gradients.
inline constexpr Tolerance kTenStepsLoss = {1e-12, 1e-6};
inline constexpr Tolerance kTenStepsGradient = {1e-9, 2e-4};
inline constexpr Tolerance kTenStepsWeights = {1e-10, 1e-4};
// Twenty steps against PyTorch; both sides round the initial weights to fp32.
inline constexpr Tolerance kParityLoss = {1e-7, 1e-5};
inline constexpr Tolerance kParityWeights = {1e-6, 2e-4};
// Five steps with ZeRO against stage 0: losses. With BF16 a master between two
// bfloat16 may round to either.
inline constexpr Tolerance kZeroStepsLoss = {1e-12, 1e-5, 1e-3};
// Losses of a run of some dozen steps at another layout, which adds in another
// order.
inline constexpr double kOtherLayoutLoss = 1e-5;
// NLL of documents against torchscale's decoder.
inline constexpr Tolerance kDocumentNll = {1e-12, 1e-5};
// Each NLL that the program writes against the reference decoders, absolutely.
inline constexpr double kProgramNll = 2e-5;

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_TESTING_TOLERANCES_H_
