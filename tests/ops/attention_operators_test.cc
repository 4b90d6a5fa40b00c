// Every operator that can run here against dense fp64: on a CPU the plain
// products, on a GPU all.
#include "ops/attention_operators.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ops/matmul.h"
#include "tests/model/reference.h"
#include "tests/ops/cuda/kernel_device.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::DenseAttention;
using testing::DenseResult;
using testing::KernelDevice;
using testing::MaxDifference;
using testing::Random;

class AttentionOperators : public testing::KernelTest {};

constexpr AttentionOperator kAll[] = {
    AttentionOperator::kFlash, AttentionOperator::kCudnn,
    AttentionOperator::kEfficient, AttentionOperator::kProducts};

struct Case {
  int64_t batch, queries, keys, heads, kv_heads, head_dim;
  bool causal;
  bool biased;
};

constexpr Case kCases[] = {
    {2, 7, 7, 3, 3, 8, true, false},      {1, 1, 1, 1, 1, 8, true, false},
    {2, 130, 130, 2, 1, 16, true, false}, {1, 90, 70, 2, 2, 24, true, false},
    {3, 64, 64, 4, 2, 32, false, false},  {1, 5, 190, 6, 2, 8, false, false},
    {2, 65, 33, 2, 2, 6, false, true},    {1, 129, 129, 3, 1, 64, true, true},
};

// Relative to the largest entry, or to 1 if that is smaller.
double Difference(const at::Tensor& a, const at::Tensor& b) {
  return MaxDifference(a.cpu().to(at::kDouble), b) /
         std::max(1.0, b.abs().max().item<double>());
}

// Keys 0 .. T-1 that query t sees: all, or 0 .. t.
at::Tensor Visible(const Case& c) {
  const at::Tensor t = at::arange(c.queries, at::kLong).unsqueeze(1);
  const at::Tensor s = at::arange(c.keys, at::kLong).unsqueeze(0);
  return c.causal ? s <= t : (s >= 0).expand({c.queries, c.keys});
}

// The part's own queries and keys, and in addition ten keys that only the
// merged result knows: the part's gradients are those of the whole.
void ExpectMatchesDense(AttentionOperator which, at::ScalarType type,
                        const Case& c) {
  const auto rounded = [&](at::IntArrayRef shape, uint64_t seed) {
    return Random(shape, seed).to(type).to(at::kDouble);
  };
  const auto leaf = [](const at::Tensor& x) {
    return x.clone().requires_grad_(true);
  };
  const at::Tensor q =
      leaf(rounded({c.batch, c.queries, c.heads, c.head_dim}, 1));
  const at::Tensor k =
      leaf(rounded({c.batch, c.keys, c.kv_heads, c.head_dim}, 2));
  const at::Tensor v =
      leaf(rounded({c.batch, c.keys, c.kv_heads, c.head_dim}, 3));
  const at::Tensor more_k = rounded({c.batch, 10, c.kv_heads, c.head_dim}, 4);
  const at::Tensor more_v = rounded({c.batch, 10, c.kv_heads, c.head_dim}, 5);
  const at::Tensor dout = rounded({c.batch, c.queries, c.heads, c.head_dim}, 6);
  const at::Tensor bias =
      c.biased ? rounded({c.heads, c.queries, c.keys}, 7) : at::Tensor();
  const at::Tensor visible = Visible(c);
  const DenseResult own = DenseAttention(q, k, v, visible, bias);
  const DenseResult all = DenseAttention(
      q, at::cat({k, more_k}, 1), at::cat({v, more_v}, 1),
      at::cat({visible, at::ones({c.queries, 10}, at::kBool)}, 1),
      c.biased
          ? at::cat({bias, at::zeros({c.heads, c.queries, 10}, at::kDouble)}, 2)
          : at::Tensor());
  all.out_BTHD.backward(dout);

  const at::ScalarType statistics = StatisticsType(type);
  const auto here = [&](const at::Tensor& x, at::ScalarType as) {
    return x.detach().to(KernelDevice(), as);
  };
  // As views of a packed tensor, which is how a layer has them.
  const auto packed = [&](const at::Tensor& x) {
    return at::cat({here(x, type), here(x, type)}, 2)
        .narrow(2, x.size(2), x.size(2));
  };
  const at::Tensor bias_here = c.biased ? here(bias, statistics) : at::Tensor();
  const AttentionPart part =
      AttendWith(which, packed(q), packed(k), packed(v), c.causal, bias_here);
  EXPECT_TRUE(part.out_BTHD.is_contiguous());
  EXPECT_EQ(part.out_BTHD.scalar_type(), type);
  EXPECT_EQ(part.lse_BTH.scalar_type(), statistics);
  EXPECT_LE(Difference(part.out_BTHD, own.out_BTHD.detach()),
            testing::kAttentionOperator(type));
  EXPECT_LE(Difference(part.lse_BTH, own.lse_BTH.detach()),
            testing::kAttentionOperator(type));

  const AttentionPart merged = {here(all.out_BTHD, type),
                                here(all.lse_BTH, statistics)};
  const PartGradients gradients =
      AttendBackwardWith(which, here(dout, type), packed(q), packed(k),
                         packed(v), merged, c.causal, bias_here);
  EXPECT_LE(Difference(gradients.dk_BSKD, k.grad()),
            testing::kAttentionOperatorGradient(type));
  EXPECT_LE(Difference(gradients.dv_BSKD, v.grad()),
            testing::kAttentionOperatorGradient(type));
  // The dense dq has what the other keys add as well.
  const PartGradients of_others = AttendBackwardWith(
      AttentionOperator::kProducts, dout, q.detach(), more_k, more_v,
      {all.out_BTHD.detach(), all.lse_BTH.detach()}, /*causal=*/false, {});
  EXPECT_LE(Difference(gradients.dq_BTHD, q.grad() - of_others.dq_BTHD),
            testing::kAttentionOperatorGradient(type));
}

TEST_F(AttentionOperators, MatchDenseForwardAndMergedBackward) {
  for (const AttentionOperator which : kAll) {
    if (KernelDevice().is_cpu() && which != AttentionOperator::kProducts) {
      continue;
    }
    int num_cases = 0;
    for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      for (const Case& c : kCases) {
        if (!Takes(which, type, c.head_dim, c.queries == c.keys, c.causal,
                   c.biased)) {
          continue;
        }
        SCOPED_TRACE(::testing::Message()
                     << NameOf(which) << " " << type << ": " << c.queries
                     << " x " << c.keys << " heads " << c.heads << "/"
                     << c.kv_heads << " of " << c.head_dim);
        ExpectMatchesDense(which, type, c);
        ++num_cases;
      }
    }
    EXPECT_GE(num_cases, 5) << NameOf(which);
  }
}

TEST_F(AttentionOperators, AreChosenByWhatTheyTake) {
  const auto choice = [](at::ScalarType type, int64_t head_dim,
                         bool equal_lengths, bool biased) {
    return ChooseOperator(type, head_dim, equal_lengths, /*causal=*/true,
                          biased);
  };
  EXPECT_EQ(choice(at::kBFloat16, 64, true, false), AttentionOperator::kFlash);
  EXPECT_EQ(choice(at::kFloat, 64, true, false), AttentionOperator::kEfficient);
  EXPECT_EQ(choice(at::kDouble, 64, true, false), AttentionOperator::kProducts);
  EXPECT_EQ(choice(at::kBFloat16, 6, true, false),
            AttentionOperator::kProducts);
  EXPECT_EQ(choice(at::kBFloat16, 64, false, false),
            AttentionOperator::kProducts);
  EXPECT_EQ(choice(at::kFloat, 64, true, true), AttentionOperator::kProducts);
  setenv("LEXTRA_ATTENTION", "cudnn", 1);
  EXPECT_EQ(choice(at::kBFloat16, 64, true, false), AttentionOperator::kCudnn);
  EXPECT_EQ(choice(at::kFloat, 64, true, false), AttentionOperator::kEfficient);
  setenv("LEXTRA_ATTENTION", "flahs", 1);
  EXPECT_THROW(choice(at::kFloat, 64, true, false), c10::Error);
  unsetenv("LEXTRA_ATTENTION");
}

}  // namespace
}  // namespace lextra
