// xPos where the whole range of positions does not fit the range of numbers.
#include "model/attention/piecewise_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "model/attention/attention.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::CausalMask;
using testing::DensePacked;
using testing::HeadsConfig;
using testing::Random;
using testing::RelativeDifference;
using testing::ScoresByDistance;

ModelConfig XPosOf(double scale_base, Precision precision,
                   int64_t num_heads = 1, int64_t num_kv_heads = 1) {
  ModelConfig model = HeadsConfig(num_heads, num_kv_heads, 8, XPOS, precision);
  model.set_xpos_scale_base(scale_base);
  return model;
}

at::ScalarType DtypeOf(Precision precision) {
  switch (precision) {
    case FP64:
      return at::kDouble;
    case BF16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

at::Tensor Rotated(const PositionEncoding& positions, AttentionRole role,
                   int64_t position) {
  const at::Tensor one = at::zeros({1, 1, 1, 8});
  one.slice(3, 0, 8, 2).fill_(1);
  positions.Rotate(role, one, one, position);
  return one.view({4, 2}).square().sum(1).sqrt();
}

// Whatever the base and the center asked for: factors of keys are neither 0 nor
// endless within a piece, nor are those of queries that stand at keys.
TEST(KeySpan, HoldsFactorsInRange) {
  for (const double base : {0.16, 1.0, 2.0, 64.0, 512.0}) {
    for (const int64_t center : {0, 1, 16, 512, 131072, 1 << 30}) {
      SCOPED_TRACE(::testing::Message() << base << " center " << center);
      const auto xpos = MakePositionEncoding(XPosOf(base, FP32), center);
      const int64_t last = xpos->key_span() - 1;
      ASSERT_LT(last, 40000);
      for (const int64_t position : {int64_t{0}, last / 2, last}) {
        const at::Tensor key = Rotated(*xpos, AttentionRole::kKey, position);
        const at::Tensor query =
            Rotated(*xpos, AttentionRole::kQuery, position);
        EXPECT_TRUE(at::isfinite(key).all().item<bool>());
        EXPECT_LE(RelativeDifference(key * query, at::ones({4})), 1e-5);
      }
    }
  }
}

TEST(KeySpan, IsTheWholeRangeWhereItFits) {
  for (const int64_t length : {2, 31, 1024, 8192, 29000}) {
    const auto xpos = MakePositionEncoding(XPosOf(512, FP32), length / 2);
    EXPECT_GE(xpos->key_span(), length);
  }
  const auto exact = MakePositionEncoding(XPosOf(512, FP64), 131072);
  EXPECT_GE(exact->key_span(), 262144);
  for (const PositionMethod method : {ROPE, ALIBI, NONE}) {
    EXPECT_EQ(MakePositionEncoding(HeadsConfig(1, 1, 8, method, FP32), 512)
                  ->key_span(),
              std::numeric_limits<int64_t>::max());
  }
}

TEST(KeyPieces, CoverKeysInOrderAndKeepToTheirStarts) {
  const auto xpos = MakePositionEncoding(XPosOf(0.5, FP32), 100);
  const int64_t span = xpos->key_span();
  for (const int64_t first : {int64_t{0}, span - 1, span, 2 * span + 3}) {
    for (const int64_t count : {int64_t{1}, span, 3 * span + 2}) {
      int64_t next = 0;
      for (const KeyPiece& piece : KeyPieces(*xpos, first, count)) {
        EXPECT_EQ(piece.first, next);
        EXPECT_EQ(piece.start % span, 0);
        EXPECT_GE(first + piece.first, piece.start);
        EXPECT_LE(first + piece.first + piece.count, piece.start + span);
        next += piece.count;
      }
      EXPECT_EQ(next, count);
    }
  }
}

// As many bases a training length as 65,536, 131,072 and 262,144 tokens have at
// the default base of 512: out and gradients are those of a dense mask in fp64.
TEST(CausalAttention, IsExactAtEveryRatioOfLengthAndBase) {
  constexpr int64_t kLength = 256;
  for (const double base : {2.0, 1.0, 0.5}) {
    for (const Precision precision : {FP64, FP32, BF16}) {
      SCOPED_TRACE(::testing::Message()
                   << base << " " << Precision_Name(precision));
      const ModelConfig model = XPosOf(base, precision, 4, 2);
      const at::Tensor own = Random({2, kLength, 8, 8}, 1)
                                 .to(DtypeOf(precision))
                                 .requires_grad_(true);
      const at::Tensor dense =
          own.detach().to(at::kDouble).clone().requires_grad_(true);
      const at::Tensor dout =
          Random({2, kLength, 4, 8}, 2).to(DtypeOf(precision));
      const auto positions = MakePositionEncoding(model, kLength / 2);
      const at::Tensor out = CausalAttention(*positions, 2)(0, own.clone());
      const at::Tensor expected =
          DensePacked(dense, model, CausalMask(kLength));
      out.backward(dout);
      expected.backward(dout.to(at::kDouble));
      EXPECT_LE(RelativeDifference(out.detach(), expected.detach()),
                testing::kPiecewiseAttention(precision));
      EXPECT_LE(RelativeDifference(own.grad(), dense.grad()),
                testing::kPiecewiseAttentionGradient(precision));
    }
  }
}

// The last queries of documents of the lengths that overflow: out and the
// gradients of all keys, values and these queries. fp32, 1e-5.
TEST(AttendPieces, LastQueriesOfLongDocumentsSeeAllKeys) {
  constexpr int64_t kQueries = 4;
  for (const int64_t length : {131072, 262144}) {
    SCOPED_TRACE(length);
    const ModelConfig model = XPosOf(512, FP32);
    const auto raw = [](int64_t count, uint64_t seed) {
      return Random({count, 8}, seed)
          .to(at::kFloat)
          .to(at::kDouble)
          .requires_grad_(true);
    };
    const at::Tensor q = raw(kQueries, 1);
    const at::Tensor k = raw(length, 2);
    const at::Tensor v = raw(length, 3);
    const at::Tensor dout = Random({kQueries, 8}, 4).to(at::kFloat);
    const at::Tensor expected =
        at::mm(ScoresByDistance(model, q, k, length).softmax(1), v);
    expected.backward(dout.to(at::kDouble));

    const auto row = [](const at::Tensor& x) {
      return x.detach().to(at::kFloat).view({1, x.size(0), 1, 8}).clone();
    };
    const auto positions = MakePositionEncoding(model, length / 2);
    const QueriesAndKeys qk = {.q_BTHD = row(q),
                               .first_query = length,
                               .k_BSKD = row(k),
                               .v_BSKD = row(v)};
    RotateKeys(*positions, qk.k_BSKD);
    const AttentionPart whole = NothingSeen(qk.q_BTHD);
    AttendPieces(*positions, whole, qk, /*causal=*/false);
    EXPECT_LE(RelativeDifference(whole.out_BTHD.view({-1, 8}), expected), 1e-5);
    const at::Tensor dq = at::zeros_like(qk.q_BTHD);
    const at::Tensor dk = at::empty_like(qk.k_BSKD);
    const at::Tensor dv = at::empty_like(qk.v_BSKD);
    AttendPiecesBackward(*positions, row(dout), qk, whole, /*causal=*/false, dq,
                         dk, dv, /*accumulate=*/false);
    RotateKeysTransposed(*positions, dk);
    EXPECT_LE(RelativeDifference(dq.view({-1, 8}), q.grad()), 1e-5);
    EXPECT_LE(RelativeDifference(dk.view({-1, 8}), k.grad()), 1e-5);
    EXPECT_LE(RelativeDifference(dv.view({-1, 8}), v.grad()), 1e-5);
  }
}

}  // namespace
}  // namespace lextra
