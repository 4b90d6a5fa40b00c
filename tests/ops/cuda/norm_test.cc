#include "ops/cuda/norm.h"

#include <ATen/ATen.h>

#include <vector>

#include "ops/matmul.h"
#include "tests/ops/cuda/kernel_device.h"

namespace lextra {
namespace {

using testing::ElementTypeOf;
using testing::KernelDevice;

constexpr double kEpsilon = 1e-5;

struct Case {
  int64_t rows;
  int64_t columns;
  at::ScalarType type;
  bool centered;
  bool has_bias;
  bool has_branch;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << " x " << c.columns << " " << c.type
             << (c.centered ? " centered" : "") << (c.has_bias ? " bias" : "")
             << (c.has_branch ? " branch" : "");
}

// Every combination of what changes the code's path; few rows where they are
// long, and two blocks of them where they are short.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const bool centered : {true, false}) {
      for (const bool extras : {true, false}) {
        for (const int64_t columns : {1, 3, 33, 257, 1000, 4097, 2056, 8200}) {
          for (const int64_t rows : {0, 1, columns < 300 ? 19 : 3}) {
            cases.push_back({rows, columns, type, centered, centered && extras,
                             /*has_branch=*/extras});
          }
        }
      }
    }
  }
  return cases;
}

class NormalizeRowsOnGpu : public testing::KernelTest {
 protected:
  // Rounded to the case's type.
  static at::Tensor Random(const Case& c, at::IntArrayRef shape) {
    return at::randn(shape, at::kDouble).to(c.type).to(KernelDevice());
  }
  static at::Tensor Empty(const Case& c, at::IntArrayRef shape) {
    return at::full(shape, -7, StatisticsType(c.type)).to(KernelDevice());
  }
  static at::Tensor Fp64(const at::Tensor& x) {
    return x.to(at::kCPU).to(at::kDouble);
  }

  // |mine - expected| within one rounding of a result of this type and a few of
  // its sums.
  static void ExpectClose(const Case& c, const char* what,
                          const at::Tensor& mine, const at::Tensor& expected,
                          at::ScalarType stored) {
    const double rounding = stored == at::kBFloat16 ? 1.0 / 256 : 0;
    const double sums = c.type == at::kDouble ? 1e-13 : 1e-5;
    EXPECT_TRUE(at::allclose(Fp64(mine), expected, rounding + sums,
                             sums + rounding / 16))
        << what << " of " << c << ": "
        << (Fp64(mine) - expected).abs().max().item<double>();
  }
};

struct Tensors {
  at::Tensor x, branch, sum, weight, bias, mean, rstd, y;
};

TEST_F(NormalizeRowsOnGpu, ForwardEqualsFp64) {
  at::manual_seed(1);
  for (const Case& c : Cases()) {
    const at::Tensor x = Random(c, {c.rows, c.columns}) * 2 + 0.75;
    const at::Tensor branch = Random(c, {c.rows, c.columns});
    const at::Tensor sum = at::empty_like(x);
    const at::Tensor weight = Random(c, {c.columns});
    const at::Tensor bias = Random(c, {c.columns});
    const at::Tensor mean = Empty(c, {c.rows}).zero_();
    const at::Tensor rstd = Empty(c, {c.rows});
    const at::Tensor y = at::empty_like(x);
    testing::Launch(
        &CudaKernels::normalize_rows,
        NormalizeRowsCuda{
            .type = ElementTypeOf(c.type),
            .stage = NormStage::kAll,
            .x = x.const_data_ptr(),
            .branch = c.has_branch ? branch.const_data_ptr() : nullptr,
            .sum = c.has_branch ? sum.mutable_data_ptr() : nullptr,
            .weight = weight.const_data_ptr(),
            .bias = c.has_bias ? bias.const_data_ptr() : nullptr,
            .mean = mean.mutable_data_ptr(),
            .rstd = rstd.mutable_data_ptr(),
            .y = y.mutable_data_ptr(),
            .rows = c.rows,
            .columns = c.columns,
            .width = c.columns,
            .centered = c.centered,
            .epsilon = kEpsilon});
    if (c.rows == 0) continue;
    if (c.has_branch) {
      // Rounded once, as ATen's sum is.
      EXPECT_TRUE(at::equal(sum, x + branch)) << c;
    }
    const at::Tensor in = Fp64(c.has_branch ? sum : x);
    const at::Tensor expected_mean =
        c.centered ? in.mean(1) : at::zeros({c.rows}, at::kDouble);
    const at::Tensor centered = in - expected_mean.unsqueeze(1);
    const at::Tensor expected_rstd =
        (centered.square().mean(1) + kEpsilon).rsqrt();
    at::Tensor expected = centered * expected_rstd.unsqueeze(1) * Fp64(weight);
    if (c.has_bias) expected += Fp64(bias);
    ExpectClose(c, "mean", mean, expected_mean, mean.scalar_type());
    ExpectClose(c, "rstd", rstd, expected_rstd, rstd.scalar_type());
    ExpectClose(c, "y", y, expected, c.type);
  }
}

TEST_F(NormalizeRowsOnGpu, BackwardEqualsFp64) {
  at::manual_seed(2);
  for (const Case& c : Cases()) {
    const at::Tensor x = Random(c, {c.rows, c.columns}) * 2 + 0.75;
    const at::Tensor weight = Random(c, {c.columns});
    const at::Tensor dy = Random(c, {c.rows, c.columns});
    const at::Tensor more = Random(c, {c.rows, c.columns});
    const at::Tensor mean =
        Empty(c, {c.rows}).copy_(Fp64(x).mean(1)).mul_(c.centered ? 1 : 0);
    const at::Tensor rstd = Empty(c, {c.rows}).fill_(0.5);
    const at::Tensor dx = at::empty_like(x);
    const int64_t blocks = (c.rows + kNormRowsPerBlock - 1) / kNormRowsPerBlock;
    const at::Tensor dparameters = Empty(c, {blocks, 2, c.columns});
    testing::Launch(
        &CudaKernels::normalize_rows_gradient,
        NormalizeRowsGradientCuda{
            .type = ElementTypeOf(c.type),
            .stage = NormStage::kAll,
            .x = x.const_data_ptr(),
            .weight = weight.const_data_ptr(),
            .mean = mean.const_data_ptr(),
            .rstd = rstd.const_data_ptr(),
            .dy = dy.const_data_ptr(),
            .dx_from_residual = c.has_branch ? more.const_data_ptr() : nullptr,
            .dx = dx.mutable_data_ptr(),
            .sums = nullptr,
            .dparameters = dparameters.mutable_data_ptr(),
            .rows = c.rows,
            .columns = c.columns,
            .width = c.columns,
            .centered = c.centered});
    if (c.rows == 0) continue;
    const at::Tensor xhat =
        (Fp64(x) - Fp64(mean).unsqueeze(1)) * Fp64(rstd).unsqueeze(1);
    const at::Tensor g = Fp64(dy) * Fp64(weight);
    at::Tensor expected = g - xhat * (g * xhat).mean(1, true);
    if (c.centered) expected -= g.mean(1, true);
    expected *= Fp64(rstd).unsqueeze(1);
    if (c.has_branch) expected += Fp64(more);
    ExpectClose(c, "dx", dx, expected, c.type);
    ExpectClose(c, "dweight", dparameters.select(1, 0).sum(0),
                (Fp64(dy) * xhat).sum(0), mean.scalar_type());
    ExpectClose(c, "dbias", dparameters.select(1, 1).sum(0), Fp64(dy).sum(0),
                mean.scalar_type());
  }
}

TEST_F(NormalizeRowsOnGpu, ForwardTakesEachPointerOffAlignment) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const Case c = {3, 264, type, true, true, true};
    at::Tensor expected;
    for (int shifted = -1; shifted < 6; ++shifted) {
      at::manual_seed(4);
      // x, branch, sum, y, weight, bias
      std::vector<at::Tensor> t;
      for (int i = 0; i < 4; ++i) t.push_back(Random(c, {c.rows, c.columns}));
      for (int i = 0; i < 2; ++i) t.push_back(Random(c, {c.columns}));
      if (shifted >= 0) t[shifted] = testing::OffAlignment(t[shifted]);
      const at::Tensor mean = Empty(c, {c.rows}).zero_();
      const at::Tensor rstd = Empty(c, {c.rows});
      testing::Launch(&CudaKernels::normalize_rows,
                      NormalizeRowsCuda{.type = ElementTypeOf(type),
                                        .stage = NormStage::kAll,
                                        .x = t[0].const_data_ptr(),
                                        .branch = t[1].const_data_ptr(),
                                        .sum = t[2].mutable_data_ptr(),
                                        .weight = t[4].const_data_ptr(),
                                        .bias = t[5].const_data_ptr(),
                                        .mean = mean.mutable_data_ptr(),
                                        .rstd = rstd.mutable_data_ptr(),
                                        .y = t[3].mutable_data_ptr(),
                                        .rows = c.rows,
                                        .columns = c.columns,
                                        .width = c.columns,
                                        .centered = true,
                                        .epsilon = kEpsilon});
      if (shifted < 0) expected = Fp64(t[3]);
      ExpectClose(c, "y", t[3], expected, type);
    }
  }
}

TEST_F(NormalizeRowsOnGpu, BackwardTakesEachPointerOffAlignment) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const Case c = {3, 264, type, true, true, true};
    at::Tensor expected;
    for (int shifted = -1; shifted < 5; ++shifted) {
      at::manual_seed(5);
      // x, dy, dx from the residual, dx, weight
      std::vector<at::Tensor> t;
      for (int i = 0; i < 4; ++i) t.push_back(Random(c, {c.rows, c.columns}));
      t.push_back(Random(c, {c.columns}));
      if (shifted >= 0) t[shifted] = testing::OffAlignment(t[shifted]);
      const at::Tensor mean = Empty(c, {c.rows}).zero_();
      const at::Tensor rstd = Empty(c, {c.rows}).fill_(0.5);
      const at::Tensor dparameters = Empty(c, {1, 2, c.columns});
      testing::Launch(&CudaKernels::normalize_rows_gradient,
                      NormalizeRowsGradientCuda{
                          .type = ElementTypeOf(type),
                          .stage = NormStage::kAll,
                          .x = t[0].const_data_ptr(),
                          .weight = t[4].const_data_ptr(),
                          .mean = mean.const_data_ptr(),
                          .rstd = rstd.const_data_ptr(),
                          .dy = t[1].const_data_ptr(),
                          .dx_from_residual = t[2].const_data_ptr(),
                          .dx = t[3].mutable_data_ptr(),
                          .sums = nullptr,
                          .dparameters = dparameters.mutable_data_ptr(),
                          .rows = c.rows,
                          .columns = c.columns,
                          .width = c.columns,
                          .centered = true});
      if (shifted < 0) expected = Fp64(t[3]);
      ExpectClose(c, "dx", t[3], expected, type);
    }
  }
}

// One of two ranks that hold half the columns of each row, in fp64.
struct HalfOfRows {
  HalfOfRows(int part, bool is_centered, const at::Tensor& whole_x,
             const at::Tensor& whole_weight, const at::Tensor& whole_dy)
      : centered(is_centered) {
    const auto mine = [&](const at::Tensor& whole) {
      return whole.chunk(2, -1)[part].contiguous().to(KernelDevice());
    };
    const auto zeros = [](at::IntArrayRef shape) {
      return at::zeros(shape, at::kDouble).to(KernelDevice());
    };
    x = mine(whole_x);
    weight = mine(whole_weight);
    dy = mine(whole_dy);
    y = at::empty_like(x);
    dx = at::empty_like(x);
    mean = zeros({x.size(0)});
    rstd = zeros({x.size(0)});
    sums = zeros({x.size(0), 2});
    dparameters =
        zeros({(x.size(0) + kNormRowsPerBlock - 1) / kNormRowsPerBlock, 2,
               x.size(1)});
  }

  void Forward(NormStage stage) const {
    testing::Launch(&CudaKernels::normalize_rows,
                    NormalizeRowsCuda{.type = ElementType::kDouble,
                                      .stage = stage,
                                      .x = x.const_data_ptr(),
                                      .branch = nullptr,
                                      .sum = nullptr,
                                      .weight = weight.const_data_ptr(),
                                      .bias = nullptr,
                                      .mean = mean.mutable_data_ptr(),
                                      .rstd = rstd.mutable_data_ptr(),
                                      .y = y.mutable_data_ptr(),
                                      .rows = x.size(0),
                                      .columns = x.size(1),
                                      .width = 2 * x.size(1),
                                      .centered = centered,
                                      .epsilon = kEpsilon});
  }

  void Backward(NormStage stage) const {
    testing::Launch(
        &CudaKernels::normalize_rows_gradient,
        NormalizeRowsGradientCuda{.type = ElementType::kDouble,
                                  .stage = stage,
                                  .x = x.const_data_ptr(),
                                  .weight = weight.const_data_ptr(),
                                  .mean = mean.const_data_ptr(),
                                  .rstd = rstd.const_data_ptr(),
                                  .dy = dy.const_data_ptr(),
                                  .dx_from_residual = nullptr,
                                  .dx = dx.mutable_data_ptr(),
                                  .sums = sums.mutable_data_ptr(),
                                  .dparameters = dparameters.mutable_data_ptr(),
                                  .rows = x.size(0),
                                  .columns = x.size(1),
                                  .width = 2 * x.size(1),
                                  .centered = centered});
  }

  bool centered;
  at::Tensor x, weight, dy, y, dx, mean, rstd, sums, dparameters;
};

using Halves = std::vector<HalfOfRows>;

// What an all-reduce does.
void AddOverHalves(Halves& halves, at::Tensor HalfOfRows::*tensor) {
  (halves[0].*tensor) += halves[1].*tensor;
  (halves[1].*tensor).copy_(halves[0].*tensor);
}

at::Tensor Joined(const Halves& halves, at::Tensor HalfOfRows::*tensor) {
  return at::cat({(halves[0].*tensor).cpu(), (halves[1].*tensor).cpu()}, -1);
}

void RunAllStages(Halves& halves) {
  const auto forward = [&](NormStage stage) {
    for (const HalfOfRows& half : halves) half.Forward(stage);
  };
  const auto backward = [&](NormStage stage) {
    for (const HalfOfRows& half : halves) half.Backward(stage);
  };
  if (halves[0].centered) {
    forward(NormStage::kMean);
    AddOverHalves(halves, &HalfOfRows::mean);
  }
  forward(NormStage::kVariance);
  AddOverHalves(halves, &HalfOfRows::rstd);
  forward(NormStage::kResult);
  backward(NormStage::kGradientSums);
  AddOverHalves(halves, &HalfOfRows::sums);
  backward(NormStage::kResult);
}

TEST_F(NormalizeRowsOnGpu, StagesOverSplitRowsEqualTheWhole) {
  at::manual_seed(3);
  for (const int64_t width : {6, 2200}) {
    for (const bool centered : {true, false}) {
      const int64_t rows = 18;
      const at::Tensor x = at::randn({rows, width}, at::kDouble);
      const at::Tensor dy = at::randn({rows, width}, at::kDouble);
      const at::Tensor weight = at::randn({width}, at::kDouble);
      Halves halves = {{0, centered, x, weight, dy},
                       {1, centered, x, weight, dy}};
      RunAllStages(halves);

      const at::Tensor mean =
          centered ? x.mean(1, true) : at::zeros({rows, 1}, at::kDouble);
      const at::Tensor rstd =
          ((x - mean).square().mean(1, true) + kEpsilon).rsqrt();
      const at::Tensor xhat = (x - mean) * rstd;
      const at::Tensor g = dy * weight;
      at::Tensor dx = g - xhat * (g * xhat).mean(1, true);
      if (centered) dx -= g.mean(1, true);
      EXPECT_TRUE(at::allclose(Joined(halves, &HalfOfRows::y), xhat * weight, 0,
                               1e-12));
      EXPECT_TRUE(
          at::allclose(Joined(halves, &HalfOfRows::dx), dx * rstd, 0, 1e-12));
      EXPECT_TRUE(at::allclose(
          Joined(halves, &HalfOfRows::dparameters).select(1, 0).sum(0),
          (dy * xhat).sum(0), 0, 1e-12));
    }
  }
}

}  // namespace
}  // namespace lextra
