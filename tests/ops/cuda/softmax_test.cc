#include "ops/cuda/softmax.h"

#include <ATen/ATen.h>

#include <limits>

#include "tests/ops/cuda/kernel_device.h"

namespace lextra {
namespace {

using testing::ElementTypeOf;
using testing::KernelDevice;

constexpr int64_t kFirstId = 100;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Types {
  at::ScalarType scores;
  at::ScalarType gradients;
};
constexpr Types kTypes[] = {{at::kFloat, at::kFloat},
                            {at::kFloat, at::kBFloat16},
                            {at::kDouble, at::kDouble}};

class SoftmaxOfScoresOnGpu : public testing::KernelTest {};

// Scores of one rank, in rows that are longer than they need be, and targets
// here and (every third row) elsewhere.
struct Chunk {
  Chunk(int64_t rows, int64_t columns, at::ScalarType type)
      : memory(at::full({rows, columns + 8 - columns % 4}, kInfinity, type)
                   .to(KernelDevice())),
        scores(memory.narrow(1, 0, columns)),
        expected(at::randn({rows, columns}, type).mul_(5).sub_(3)),
        targets(at::randint(kFirstId, kFirstId + columns, {rows}, at::kLong)) {
    // The softmax of a row far from 0 is as good.
    if (rows > 1) expected[1] += 1000;
    targets.slice(0, 2, rows, 3) += columns;
    if (rows > 4) targets[4] = 0;
    scores.copy_(expected);
    expected = expected.to(at::kDouble);
    device_targets = targets.to(KernelDevice());
  }

  ScoreRows Arguments() const {
    return {.type = ElementTypeOf(memory.scalar_type()),
            .scores = memory.mutable_data_ptr(),
            .row_stride = memory.stride(0),
            .rows = scores.size(0),
            .columns = scores.size(1),
            .targets = device_targets.const_data_ptr<int64_t>(),
            .first_id = kFirstId};
  }

  // 1 where the target is.
  at::Tensor OneHot() const {
    return (at::arange(scores.size(1)) + kFirstId)
        .eq(targets.unsqueeze(1))
        .to(at::kDouble);
  }

  at::Tensor memory;
  at::Tensor scores;
  at::Tensor expected;
  at::Tensor targets;
  at::Tensor device_targets;
};

TEST_F(SoftmaxOfScoresOnGpu, StatisticsEqualFp64) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const int64_t columns : {1, 3, 33, 257, 1000, 4097, 4096}) {
      for (const int64_t rows : {0, 1, 7}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << columns << " " << type);
        const Chunk chunk(rows, columns, type);
        const at::Tensor results =
            at::full({3, rows}, -7, type).to(KernelDevice());
        testing::Launch(
            &CudaKernels::score_statistics,
            ScoreStatisticsCuda{.rows = chunk.Arguments(),
                                .maximum = results[0].data_ptr(),
                                .sum = results[1].data_ptr(),
                                .target_score = results[2].data_ptr()});
        if (rows == 0) continue;
        const at::Tensor mine = results.cpu().to(at::kDouble);
        const at::Tensor maximum = chunk.expected.amax(1);
        const double tolerance = type == at::kDouble ? 1e-13 : 1e-5;
        EXPECT_TRUE(at::equal(mine[0], maximum));
        EXPECT_TRUE(at::allclose(
            mine[1], (chunk.expected - maximum.unsqueeze(1)).exp().sum(1),
            tolerance, 0));
        EXPECT_TRUE(
            at::equal(mine[2], (chunk.expected * chunk.OneHot()).sum(1)));
      }
    }
  }
}

// Padded ids, and rows of nothing else.
TEST_F(SoftmaxOfScoresOnGpu, ScoresOfMinusInfinityAddNothing) {
  const Chunk chunk(3, 300, at::kFloat);
  chunk.scores.narrow(1, 100, 200).fill_(-kInfinity);
  chunk.scores[2].fill_(-kInfinity);
  const at::Tensor results =
      at::full({3, 3}, -7, at::kFloat).to(KernelDevice());
  for (const int64_t columns : {300, 0}) {
    ScoreRows rows = chunk.Arguments();
    rows.columns = columns;
    testing::Launch(&CudaKernels::score_statistics,
                    ScoreStatisticsCuda{.rows = rows,
                                        .maximum = results[0].data_ptr(),
                                        .sum = results[1].data_ptr(),
                                        .target_score = results[2].data_ptr()});
    const at::Tensor mine = results.cpu();
    EXPECT_TRUE(mine.narrow(0, 0, 2).isfinite().all().item<bool>());
    EXPECT_EQ(mine[1][2].item<float>(), 0);
    if (columns == 0) {
      EXPECT_EQ(mine[1].sum().item<float>(), 0);
      continue;
    }
    const at::Tensor seen = chunk.expected.narrow(1, 0, 100).narrow(0, 0, 2);
    EXPECT_TRUE(at::allclose(mine[1].narrow(0, 0, 2).to(at::kDouble),
                             (seen - seen.amax(1, true)).exp().sum(1), 1e-5,
                             0));
  }
}

// Columns 1 .. 300 of 301, with the ids that they have there.
TEST_F(SoftmaxOfScoresOnGpu, TakesScoresOffAlignment) {
  at::manual_seed(3);
  for (const Types& types : kTypes) {
    const Chunk chunk(3, 301, types.scores);
    chunk.device_targets.fill_(kFirstId + 7);
    const at::Tensor scores = chunk.scores.narrow(1, 1, 300);
    ScoreRows rows = chunk.Arguments();
    rows.scores = scores.mutable_data_ptr();
    rows.columns = 300;
    rows.first_id = kFirstId + 1;
    const at::Tensor results =
        at::full({3, 3}, -7, types.scores).to(KernelDevice());
    testing::Launch(&CudaKernels::score_statistics,
                    ScoreStatisticsCuda{.rows = rows,
                                        .maximum = results[0].data_ptr(),
                                        .sum = results[1].data_ptr(),
                                        .target_score = results[2].data_ptr()});
    const at::Tensor share = results[1].reciprocal();
    const at::Tensor mine = results.cpu().to(at::kDouble);
    testing::Launch(
        &CudaKernels::score_gradient,
        ScoreGradientCuda{.rows = rows,
                          .gradient_type = ElementTypeOf(types.gradients),
                          .maximum = results[0].data_ptr(),
                          .share = share.const_data_ptr(),
                          .scale = 0.25});
    const at::Tensor seen = chunk.expected.narrow(1, 1, 300);
    EXPECT_TRUE(at::equal(mine[0], seen.amax(1)));
    EXPECT_TRUE(at::equal(mine[2], seen.select(1, 6)));
    const int64_t bytes = scores.element_size();
    for (int64_t row = 0; row < 3; ++row) {
      at::Tensor expected = at::softmax(seen[row], 0) * 0.25;
      expected[6] -= 0.25;
      // A row of gradients begins where its scores did.
      const at::Tensor gradient =
          chunk.memory[row]
              .view(types.gradients)
              .narrow(0, bytes / c10::elementSize(types.gradients), 300);
      EXPECT_TRUE(at::allclose(gradient.to(at::kCPU).to(at::kDouble), expected,
                               types.gradients == at::kBFloat16 ? 1.0 / 200
                               : types.scores == at::kDouble    ? 1e-12
                                                                : 1e-5,
                               types.scores == at::kDouble ? 1e-13 : 1e-6))
          << types.scores << " " << types.gradients;
    }
  }
}

TEST_F(SoftmaxOfScoresOnGpu, GradientInPlaceEqualsFp64) {
  at::manual_seed(2);
  for (const Types& types : kTypes) {
    for (const int64_t columns : {1, 3, 33, 257, 1000, 4097, 4096}) {
      for (const int64_t rows : {0, 1, 7}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << columns << " " << types.scores << " "
                     << types.gradients);
        const Chunk chunk(rows, columns, types.scores);
        const at::Tensor maximum =
            rows == 0 ? at::empty({0}) : chunk.expected.amax(1);
        const at::Tensor share = at::rand({rows}, types.scores);
        const at::Tensor device_maximum =
            maximum.to(types.scores).to(KernelDevice());
        const at::Tensor device_share = share.to(KernelDevice());
        testing::Launch(
            &CudaKernels::score_gradient,
            ScoreGradientCuda{.rows = chunk.Arguments(),
                              .gradient_type = ElementTypeOf(types.gradients),
                              .maximum = device_maximum.const_data_ptr(),
                              .share = device_share.const_data_ptr(),
                              .scale = 0.25});
        if (rows == 0) continue;
        const at::Tensor expected =
            ((chunk.expected - maximum.unsqueeze(1)).exp() *
                 share.to(at::kDouble).unsqueeze(1) -
             chunk.OneHot()) *
            0.25;
        const at::Tensor mine = chunk.memory.view(types.gradients)
                                    .narrow(1, 0, columns)
                                    .to(at::kCPU)
                                    .to(at::kDouble);
        const double rounding =
            types.gradients == at::kBFloat16 ? 1.0 / 256 : 0;
        const double sums = types.scores == at::kDouble ? 1e-13 : 1e-6;
        EXPECT_TRUE(at::allclose(mine, expected, rounding + sums, sums));
      }
    }
  }
}

}  // namespace
}  // namespace lextra
