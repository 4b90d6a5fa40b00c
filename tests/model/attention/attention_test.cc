#include "model/attention/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ops/attention_part.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra {
namespace {

using testing::BlockwiseMask;
using testing::CausalMask;
using testing::DensePacked;
using testing::FromBlocks;
using testing::Golden;
using testing::HeadsConfig;
using testing::Random;
using testing::RelativeDifference;
using testing::ToBlocks;

const char* const kBlockwiseFiles[] = {
    "bca_attention_N110_l48_d64",      "bca_attention_N20_l32_d8",
    "bca_attention_N33_l32_d16",       "bca_attention_N37_l10_d8",
    "bca_attention_N64_l16_d8",        "bca_attention_N83_l32_d16",
    "bca_attention_N90_l24_d16_base16"};

// One golden file, packed as a layer makes it: one document.
struct GoldenCase {
  GoldenCase(const char* name, Precision precision)
      : golden(Golden(name)),
        dtype(precision == FP64 ? at::kDouble : at::kFloat),
        num_heads(golden.at("q").size(0)),
        length(golden.at("q").size(1)),
        block(golden.at("block").item<int64_t>()),
        model(HeadsConfig(num_heads, num_heads, golden.at("q").size(2), XPOS,
                          precision)) {
    model.set_xpos_scale_base(golden.at("scale_base").item<double>());
    positions = MakePositionEncoding(model, block);
  }

  // [H, N, D] -> [1, N, H, D].
  at::Tensor Heads(const char* name) const {
    return golden.at(name).transpose(0, 1).unsqueeze(0).to(dtype);
  }

  NamedTensors golden;
  at::ScalarType dtype;
  int64_t num_heads;
  int64_t length;
  int64_t block;
  ModelConfig model;
  std::unique_ptr<PositionEncoding> positions;
};

// Out and gradients with respect to raw q, k, v. Relative to the largest entry:
// fp64 within the rounding of the files (5e-7), fp32 within 4e-6.
TEST(BlockwiseCausalAttention, MatchesTheFork) {
  for (const char* name : kBlockwiseFiles) {
    for (const Precision precision : {FP32, FP64}) {
      SCOPED_TRACE(::testing::Message() << name << Precision_Name(precision));
      const GoldenCase c(name, precision);
      const at::Tensor qkv =
          at::cat({c.Heads("q"), c.Heads("k"), c.Heads("v")}, 2)
              .requires_grad_(true);
      BlockwiseCausalAttention attention(*c.positions, c.num_heads, 1);
      const at::Tensor out =
          FromBlocks(attention(0, ToBlocks(qkv, c.block)), 1, c.length);
      out.backward(c.Heads("dout"));
      EXPECT_LE(RelativeDifference(out.detach(), c.Heads("out")),
                testing::kBlockwiseAttention(c.dtype));
      const std::vector<at::Tensor> gradients = qkv.grad().chunk(3, 2);
      EXPECT_LE(RelativeDifference(gradients[0], c.Heads("dq")),
                testing::kBlockwiseAttention(c.dtype));
      EXPECT_LE(RelativeDifference(gradients[1], c.Heads("dk")),
                testing::kBlockwiseAttention(c.dtype));
      EXPECT_LE(RelativeDifference(gradients[2], c.Heads("dv")),
                testing::kBlockwiseAttention(c.dtype));
    }
  }
}

// The parts' merged log-sum-exp. Tolerances as above.
TEST(BlockwiseCausalAttention, PartsGiveTheForksLogSumExp) {
  for (const char* name : kBlockwiseFiles) {
    for (const Precision precision : {FP32, FP64}) {
      SCOPED_TRACE(::testing::Message() << name << Precision_Name(precision));
      const GoldenCase c(name, precision);
      const at::Tensor q = ToBlocks(c.Heads("q"), c.block);
      const at::Tensor k = ToBlocks(c.Heads("k"), c.block);
      const at::Tensor v = ToBlocks(c.Heads("v"), c.block);
      const at::Tensor q_back = at::empty_like(q);
      c.positions->Rotate(AttentionRole::kQuery, q, q_back, c.block);
      c.positions->Rotate(AttentionRole::kQuery, q, q, 0);
      c.positions->Rotate(AttentionRole::kKey, k, k, 0);
      const AttentionPart whole = Attend(q, k, v, true, {});
      const int64_t later = q.size(0) - 1;
      AttendMore({whole.out_BTHD.narrow(0, 1, later),
                  whole.lse_BTH.narrow(0, 1, later)},
                 q_back.narrow(0, 1, later), k.narrow(0, 0, later),
                 v.narrow(0, 0, later), false, {});
      EXPECT_LE(RelativeDifference(FromBlocks(whole.lse_BTH, 1, c.length)[0],
                                   c.golden.at("lse").t()),
                testing::kBlockwiseAttention(c.dtype));
    }
  }
}

struct Heads {
  int64_t num_heads, num_kv_heads, head_dim;
};
constexpr Heads kHeads[] = {{3, 3, 8}, {4, 2, 16}, {6, 1, 4}};

// Out and gradients at every place of every block (block 0 included), with
// several documents and grouped heads: fp64, 1e-12 of the largest entry.
TEST(BlockwiseCausalAttention, EqualsADenseMaskAtEveryPlace) {
  for (const PositionMethod method : {XPOS, ROPE, NONE, ALIBI}) {
    for (const Heads& heads : kHeads) {
      for (const int64_t length : {1, 5, 6, 7, 12, 31}) {
        SCOPED_TRACE(::testing::Message()
                     << PositionMethod_Name(method) << " " << heads.num_heads
                     << "/" << heads.num_kv_heads << " length " << length);
        constexpr int64_t kBlock = 6;
        constexpr int64_t kDocuments = 3;
        const ModelConfig model = HeadsConfig(
            heads.num_heads, heads.num_kv_heads, heads.head_dim, method, FP64);
        const std::vector<int64_t> shape = {
            kDocuments, length, heads.num_heads + 2 * heads.num_kv_heads,
            heads.head_dim};
        const at::Tensor own = Random(shape, 1).requires_grad_(true);
        const at::Tensor dense = own.detach().clone().requires_grad_(true);
        const at::Tensor dout =
            Random({kDocuments, length, heads.num_heads, heads.head_dim}, 2);
        const auto positions = MakePositionEncoding(model, kBlock);
        BlockwiseCausalAttention attention(*positions, heads.num_kv_heads,
                                           kDocuments);
        const at::Tensor out =
            FromBlocks(attention(0, ToBlocks(own, kBlock)), kDocuments, length);
        const at::Tensor expected =
            DensePacked(dense, model, BlockwiseMask(length, kBlock));
        out.backward(dout);
        expected.backward(dout);
        EXPECT_LE(RelativeDifference(out.detach(), expected.detach()), 1e-12);
        EXPECT_LE(RelativeDifference(own.grad(), dense.grad()), 1e-12);
      }
    }
  }
}

// As above for plain causal attention; fp32 within 4e-6.
TEST(CausalAttention, EqualsADenseMask) {
  for (const Precision precision : {FP32, FP64}) {
    for (const PositionMethod method : {XPOS, ROPE, NONE, ALIBI}) {
      for (const Heads& heads : kHeads) {
        const int64_t length = 70;
        const ModelConfig model =
            HeadsConfig(heads.num_heads, heads.num_kv_heads, heads.head_dim,
                        method, precision);
        const at::Tensor own =
            Random({2, length, heads.num_heads + 2 * heads.num_kv_heads,
                    heads.head_dim},
                   1)
                .to(precision == FP64 ? at::kDouble : at::kFloat)
                .requires_grad_(true);
        const at::Tensor dense =
            own.detach().to(at::kDouble).clone().requires_grad_(true);
        const at::Tensor dout =
            Random({2, length, heads.num_heads, heads.head_dim}, 2);
        const auto positions = MakePositionEncoding(model, length / 2);
        CausalAttention attention(*positions, heads.num_kv_heads);
        const at::Tensor out = attention(0, own.clone());
        const at::Tensor expected =
            DensePacked(dense, model, CausalMask(length));
        out.backward(dout.to(out.dtype()));
        expected.backward(dout);
        const double tolerance = testing::kBlockwiseDocuments(precision);
        EXPECT_LE(RelativeDifference(out.detach(), expected.detach()),
                  tolerance);
        EXPECT_LE(RelativeDifference(own.grad(), dense.grad()), tolerance);
      }
    }
  }
}

TEST(BlockwiseCausalAttention, RefusesRowsThatAreNotWholeBlocks) {
  const auto positions =
      MakePositionEncoding(HeadsConfig(1, 1, 4, XPOS, FP32), 0);
  BlockwiseCausalAttention attention(*positions, 1, 2);
  EXPECT_THROW(attention(0, at::zeros({3, 2, 3, 4})), c10::Error);
}

}  // namespace
}  // namespace lextra
