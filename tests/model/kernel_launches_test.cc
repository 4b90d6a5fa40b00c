// The code that launches kernels for GPUs, on CPU tensors: the module
// lextra_cuda.so next to this test holds the kernels compiled for the CPU. Rows
// and vocabularies are split over the ranks; the reference is the same pass
// without kernels.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "config/model_facts.h"
#include "model/norm_passes.h"
#include "parallel/tensor_parallel/chunked_softmax.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::MakeMesh;
using testing::Random;
using testing::RelativeDifference;
using testing::Session;

struct NormResults {
  NormResults(bool by_kernels, bool centered, bool residual,
              Communicator* split_over, at::ScalarType dtype) {
    constexpr int64_t kRows = 37;
    constexpr int64_t kColumns = 24;
    const uint64_t rank = split_over == nullptr ? 0 : split_over->rank();
    const auto random = [&](at::IntArrayRef shape, uint64_t seed) {
      return Random(shape, 10 * rank + seed).to(dtype);
    };
    const at::ScalarType statistics = StatisticsType(dtype);
    const at::Tensor x = random({kRows, kColumns}, 1);
    const NormRows rows = {.x_NC = residual ? at::empty_like(x) : x,
                           .weight = random({kColumns}, 2),
                           .mean_N = at::zeros({kRows}, statistics),
                           .rstd_N = at::zeros({kRows}, statistics),
                           .centered = centered,
                           .split_over = split_over};
    const NormForward forward = {
        .addend_NC = residual ? x : at::Tensor(),
        .branch_NC = residual ? random({kRows, kColumns}, 3) : at::Tensor(),
        .bias = centered ? random({kColumns}, 4) : at::Tensor(),
        .epsilon = 1e-5,
        .y_NC = at::empty_like(x)};
    const NormBackward backward = {
        .dy_NC = random({kRows, kColumns}, 5),
        .dx_from_residual_NC =
            residual ? random({kRows, kColumns}, 6) : at::Tensor(),
        .dx_NC = at::empty_like(x)};
    at::Tensor blocks;
    if (by_kernels) {
      NormalizeOnGpu(rows, forward);
      blocks = NormalizeGradientOnGpu(rows, backward);
    } else {
      Normalize(rows, forward);
      blocks = NormalizeGradient(rows, backward);
    }
    all = {rows.x_NC,    rows.mean_N,    rows.rstd_N,
           forward.y_NC, backward.dx_NC, blocks.sum(0)};
  }

  std::vector<at::Tensor> all;
};

TEST(NormalizeOnGpu, EqualsTheCpusPassesAlsoOfRowsSplitOverRanks) {
  const auto mesh = MakeMesh({.tensor = Session().size()});
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const bool centered : {true, false}) {
      for (const auto& [residual, split] :
           {std::pair(false, false), {true, false}, {false, true}}) {
        SCOPED_TRACE(::testing::Message()
                     << dtype << " centered " << centered << " residual "
                     << residual << " split " << split);
        Communicator* axis = split ? &mesh->tensor() : nullptr;
        const NormResults mine(true, centered, residual, axis, dtype);
        const NormResults expected(false, centered, residual, axis, dtype);
        for (size_t i = 0; i < mine.all.size(); ++i) {
          // A mean of RMS norm is 0 in both.
          if (at::equal(mine.all[i], expected.all[i])) continue;
          EXPECT_LE(RelativeDifference(mine.all[i], expected.all[i]),
                    testing::kKernel(dtype))
              << "result " << i;
        }
      }
    }
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

// The losses, and the gradients of all chunks' scores.
std::pair<at::Tensor, at::Tensor> Softmax(bool by_kernels, Communicator& axis,
                                          at::ScalarType dtype) {
  // Some ids are padding; of four ranks the last holds nothing else.
  constexpr int64_t kVocab = 17;
  constexpr int64_t kPaddedVocab = 24;
  VocabParallelEmbedding output(
      axis, "e", kPaddedVocab, 6,
      [&](const std::string&, const std::vector<int64_t>& shape) {
        return Random(shape, 1).to(dtype);
      });
  ChunkedSoftmax softmax(axis, output, kVocab, /*tokens_per_chunk=*/7,
                         by_kernels);
  std::vector<at::Tensor> gradients;
  const at::Tensor nll = softmax.ForEachChunk(
      (Random({23, 6}, 2) * 10).to(dtype),
      at::arange(23).mul_(5).remainder_(kVocab),
      [&](int64_t, const at::Tensor&) {
        gradients.push_back(
            softmax.ScoreGradient(0.25).to(StatisticsType(dtype)).clone());
      });
  return {nll, at::cat(gradients)};
}

TEST(SoftmaxByKernels, EqualsTheCpusAlsoOfAVocabularySplitOverRanks) {
  const auto mesh = MakeMesh({.tensor = Session().size()});
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const auto [nll, gradients] = Softmax(true, mesh->tensor(), dtype);
    const auto [expected_nll, expected_gradients] =
        Softmax(false, mesh->tensor(), dtype);
    EXPECT_LE(RelativeDifference(nll, expected_nll),
              testing::kKernel(StatisticsType(dtype)))
        << dtype;
    if (at::equal(gradients, expected_gradients)) continue;  // all padding
    EXPECT_LE(RelativeDifference(gradients, expected_gradients),
              testing::kKernel(dtype))
        << dtype;
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

}  // namespace
}  // namespace lextra
