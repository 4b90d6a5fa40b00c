#include "model/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::MakeMesh;
using testing::MaxDifference;
using testing::Random;
using testing::RelativeDifference;
using testing::Session;

constexpr double kEpsilon = 1e-5;

// Not all ones and zeros, so that a forgotten parameter shows.
Initializer RandomParameters(at::ScalarType dtype) {
  return [dtype](const std::string& name, const std::vector<int64_t>& shape) {
    return Random(shape, name == "n.bias" ? 11 : 12).to(dtype);
  };
}

// y and all gradients by ATen's autograd in x's dtype.
struct Dense {
  // Parameters are rounded to `rounded`, if given.
  Dense(Norm kind, bool bias, const at::Tensor& x_in, const at::Tensor& dy,
        std::optional<at::ScalarType> rounded = std::nullopt) {
    const std::vector<int64_t> width = {x_in.size(-1)};
    const Initializer initialize = [&](const std::string& name,
                                       const std::vector<int64_t>& shape) {
      return RandomParameters(rounded.value_or(x_in.scalar_type()))(name, shape)
          .to(x_in.scalar_type());
    };
    x = x_in.clone().requires_grad_(true);
    weight = initialize("n.weight", width).requires_grad_(true);
    if (bias) this->bias = initialize("n.bias", width).requires_grad_(true);
    y = kind == LAYER_NORM
            ? at::layer_norm(x, width, weight, this->bias, kEpsilon)
            : x * at::rsqrt(x.square().mean(-1, true) + kEpsilon) * weight;
    y.backward(dy);
  }

  at::Tensor x, weight, bias, y;
};

// Rows split over all ranks (`split`) or replicated, against the whole row.
// fp64 1e-12, fp32 3e-6 of the largest entry.
void ExpectMatchesDense(Norm kind, bool bias, bool split,
                        at::ScalarType dtype) {
  SCOPED_TRACE(::testing::Message() << Norm_Name(kind) << " bias " << bias
                                    << " split " << split << " " << dtype);
  const auto mesh = MakeMesh({.tensor = Session().size()});
  Communicator& axis = mesh->tensor();
  constexpr int64_t kWidth = 60;
  const at::Tensor x = Random({3, 50, kWidth}, 1) * 2 + 0.7;
  const at::Tensor dy = Random({3, 50, kWidth}, 2);
  const Dense dense(kind, bias, x, dy);
  const int64_t columns = split ? kWidth / axis.size() : kWidth;
  const int64_t first = split ? axis.rank() * columns : 0;
  const auto mine = [&](const at::Tensor& whole) {
    return whole.detach().narrow(-1, first, columns).to(dtype);
  };
  NormLayer norm(kind, "n", kWidth, kEpsilon, bias, split ? &axis : nullptr,
                 RandomParameters(dtype));
  const at::Tensor own_x = mine(x).clone().requires_grad_(true);
  const at::Tensor y = norm(own_x);
  y.backward(mine(dy));
  const double tolerance = testing::kNormPass(dtype);
  EXPECT_LE(RelativeDifference(y.detach(), mine(dense.y)), tolerance);
  EXPECT_LE(RelativeDifference(own_x.grad(), mine(dense.x.grad())), tolerance);
  const std::vector<Parameter*> parameters = norm.parameters();
  ASSERT_EQ(parameters.size(), kind == LAYER_NORM && bias ? 2u : 1u);
  EXPECT_LE(
      RelativeDifference(parameters[0]->leaf.grad(), mine(dense.weight.grad())),
      tolerance);
  if (parameters.size() == 2) {
    EXPECT_LE(
        RelativeDifference(parameters[1]->leaf.grad(), mine(dense.bias.grad())),
        tolerance);
  }
  EXPECT_EQ(parameters[0]->tensor_sharded, split);
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(NormLayer, MatchesTheDenseNormForwardAndBackward) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const bool split : {false, true}) {
      ExpectMatchesDense(LAYER_NORM, true, split, dtype);
      ExpectMatchesDense(LAYER_NORM, false, split, dtype);
      ExpectMatchesDense(RMS_NORM, false, split, dtype);
    }
  }
}

// Inputs are rounded to bf16 for all three.
void ExpectBfloat16NoWorseThanTwicePlain(Norm kind, bool bias, bool split) {
  SCOPED_TRACE(::testing::Message()
               << Norm_Name(kind) << " bias " << bias << " split " << split);
  const auto mesh = MakeMesh({.tensor = Session().size()});
  Communicator& axis = mesh->tensor();
  constexpr int64_t kWidth = 240;
  const auto rounded = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor x = rounded(Random({3, 50, kWidth}, 1) * 2 + 0.7);
  const at::Tensor dy = rounded(Random({3, 50, kWidth}, 2));
  const Dense plain(kind, bias, x, dy);
  const Dense exact(kind, bias, x.to(at::kDouble), dy.to(at::kDouble),
                    at::kBFloat16);
  const int64_t columns = split ? kWidth / axis.size() : kWidth;
  const auto mine = [&](const at::Tensor& whole) {
    return whole.detach().narrow(-1, split ? axis.rank() * columns : 0,
                                 columns);
  };
  NormLayer norm(kind, "n", kWidth, kEpsilon, bias, split ? &axis : nullptr,
                 RandomParameters(at::kBFloat16));
  for (Parameter* parameter : norm.parameters()) {
    parameter->leaf.mutable_grad() =
        at::zeros(parameter->leaf.sizes(), at::kFloat);
  }
  const at::Tensor own_x = mine(x).clone().requires_grad_(true);
  const at::Tensor y = norm(own_x);
  y.backward(mine(dy));
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  const auto expect = [&](const char* what, const at::Tensor& ours,
                          const at::Tensor& plain_whole,
                          const at::Tensor& exact_whole) {
    EXPECT_LE(MaxDifference(ours.detach(), mine(exact_whole)),
              2 * MaxDifference(mine(plain_whole), mine(exact_whole)))
        << what;
  };
  expect("y", y, plain.y, exact.y);
  expect("dx", own_x.grad(), plain.x.grad(), exact.x.grad());
  const std::vector<Parameter*> parameters = norm.parameters();
  expect("dweight", parameters[0]->leaf.grad(), plain.weight.grad(),
         exact.weight.grad());
  // Sums of rounded numbers in fp32.
  EXPECT_LE(
      RelativeDifference(parameters[0]->leaf.grad(), mine(exact.weight.grad())),
      3e-6);
  if (parameters.size() == 2) {
    expect("dbias", parameters[1]->leaf.grad(), plain.bias.grad(),
           exact.bias.grad());
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

TEST(NormLayer, Bfloat16ErrsNoMoreThanTwiceAsThePlainPath) {
  for (const bool split : {false, true}) {
    ExpectBfloat16NoWorseThanTwicePlain(LAYER_NORM, true, split);
    ExpectBfloat16NoWorseThanTwicePlain(LAYER_NORM, false, split);
    ExpectBfloat16NoWorseThanTwicePlain(RMS_NORM, false, split);
  }
}

// x + branch by ATen and the norm of it by the layer, or both by the layer.
struct ResidualRun {
  ResidualRun(Norm kind, at::ScalarType dtype, bool fused, bool last) {
    NormLayer norm(kind, "n", 48, kEpsilon, true, nullptr,
                   RandomParameters(dtype));
    const auto random = [&](uint64_t seed) {
      return Random({3, 50, 48}, seed).to(dtype);
    };
    const at::Tensor x = random(1).requires_grad_(true);
    const at::Tensor branch = random(2).requires_grad_(true);
    NormLayer::Residual out;
    if (fused) {
      out = norm(x, branch);
    } else {
      out.x = x + branch;
      out.normalized = norm(out.x);
    }
    // The last norm's sum is of no further use.
    at::Tensor loss = (out.normalized * random(3)).sum();
    if (!last) loss = loss + (out.x * random(4)).sum();
    loss.backward();
    results = {out.x.detach(), out.normalized.detach(), x.grad(), branch.grad(),
               norm.parameters()[0]->leaf.grad()};
  }

  std::vector<at::Tensor> results;
};

TEST(NormLayer, OfAResidualStreamIsBitForBitTheSumAndItsNorm) {
  for (const Norm kind : {LAYER_NORM, RMS_NORM}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      for (const bool last : {false, true}) {
        const ResidualRun fused(kind, dtype, true, last);
        const ResidualRun apart(kind, dtype, false, last);
        for (size_t i = 0; i < fused.results.size(); ++i) {
          EXPECT_TRUE(at::equal(fused.results[i], apart.results[i]))
              << Norm_Name(kind) << " " << dtype << " result " << i;
        }
      }
    }
  }
}

TEST(NormLayer, WithoutABranchLeavesTheStreamAsItIs) {
  NormLayer norm(LAYER_NORM, "n", 8, kEpsilon, true, nullptr,
                 RandomParameters(at::kDouble));
  const at::Tensor x = Random({5, 8}, 1);
  const NormLayer::Residual out = norm(x, at::Tensor());
  EXPECT_TRUE(out.x.is_same(x));
  EXPECT_TRUE(at::equal(out.normalized, norm(x)));
}

TEST(NormLayer, AddsToTheGradientsThatAreThere) {
  NormLayer norm(LAYER_NORM, "n", 8, kEpsilon, true, nullptr,
                 RandomParameters(at::kDouble));
  const at::Tensor x = Random({5, 8}, 1);
  norm(x).sum().backward();
  const at::Tensor once = norm.parameters()[0]->leaf.grad().clone();
  norm(x).sum().backward();
  EXPECT_LE(RelativeDifference(norm.parameters()[0]->leaf.grad(), 2 * once),
            1e-15);
}

TEST(NormLayer, GradientsDoNotDependOnTheNumberOfThreads) {
  const at::Tensor x = Random({1000, 48}, 1).to(at::kFloat);
  const at::Tensor dy = Random({1000, 48}, 2).to(at::kFloat);
  at::Tensor first;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    NormLayer norm(LAYER_NORM, "n", 48, kEpsilon, true, nullptr,
                   RandomParameters(at::kFloat));
    norm(x).backward(dy);
    const at::Tensor gradient = norm.parameters()[0]->leaf.grad();
    if (!first.defined()) first = gradient;
    EXPECT_TRUE(at::equal(gradient, first)) << threads << " threads";
  }
  at::set_num_threads(1);
}

}  // namespace
}  // namespace lextra
