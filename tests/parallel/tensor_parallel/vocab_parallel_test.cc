// Against embedding and cross entropy on the whole matrix: fp64 to 1e-12, fp32
// to 5e-6 of the largest element. 17 ids are padded to 24 rows, so that with
// four ranks the last one holds nothing but padding.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "config/model_facts.h"
#include "parallel/tensor_parallel/sharded_layers.h"
#include "tests/parallel/tensor_parallel/layer_fixture.h"

namespace lextra {
namespace {

using testing::RelativeDifference;

constexpr int64_t kVocab = 17;
constexpr int64_t kPaddedVocab = 24;
constexpr int64_t kWidth = 6;
constexpr int64_t kTokens = 24;

class VocabParallel : public testing::ShardedLayers {
 protected:
  VocabParallelEmbedding MakeEmbedding() {
    return VocabParallelEmbedding(axis(), "embed", kPaddedVocab, kWidth,
                                  initializer());
  }
  at::Tensor DenseRows() {
    return Dense("embed.weight", {kPaddedVocab, kWidth});
  }

  static at::Tensor Ids(int64_t first) {
    return at::arange(first, first + kTokens, at::kLong)
        .mul(7)
        .remainder(kVocab);
  }

  static at::Tensor DenseScores(const at::Tensor& x, const at::Tensor& rows) {
    return at::mm(x, rows.narrow(0, 0, kVocab).t());
  }
  static at::Tensor DenseLoss(const at::Tensor& x, const at::Tensor& rows,
                              const at::Tensor& targets) {
    return at::cross_entropy_loss(DenseScores(x, rows), targets, {},
                                  at::Reduction::Sum);
  }
};

TEST_P(VocabParallel, EmbeddingMatchesDenseForwardAndBackward) {
  for (const ActivationLayout layout :
       {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
    dense_.clear();
    VocabParallelEmbedding embedding = MakeEmbedding();
    const at::Tensor ids = Ids(0).view({4, 6});
    const at::Tensor x = embedding(ids, layout);
    const at::Tensor dense = at::embedding(DenseRows(), ids);
    EXPECT_TRUE(x.equal(TokensOf(dense, layout)));
    const at::Tensor dx = Random("dx", {4, 6, kWidth});
    x.backward(TokensOf(dx, layout));
    dense.backward(dx);
    ExpectShardsOfDense(*embedding.parameters()[0]);
  }
}

TEST_P(VocabParallel, EmbeddingRefusesIdsOutsideTheVocabulary) {
  VocabParallelEmbedding embedding = MakeEmbedding();
  EXPECT_THROW(embedding(at::full({3}, kPaddedVocab, at::kLong)), c10::Error);
  EXPECT_THROW(embedding(at::full({3}, -1, at::kLong)), c10::Error);
}

TEST_P(VocabParallel, LossAndItsGradientsMatchDenseForAnyChunkSize) {
  for (const ActivationLayout layout :
       {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
    for (const int64_t chunk : {1, 7, 24, 64}) {
      dense_.clear();
      VocabParallelEmbedding output = MakeEmbedding();
      VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, chunk);
      const at::Tensor dense_x =
          Random("x", {kTokens, kWidth}).requires_grad_(true);
      const at::Tensor x =
          TokensOf(dense_x.detach(), layout).clone().requires_grad_(true);
      const at::Tensor loss = cross_entropy.Loss(x, Ids(3), 0.25, layout);
      // The loss is part of something larger, so that its gradient is 3.
      (loss * 3).backward();

      const at::Tensor dense = DenseLoss(dense_x, DenseRows(), Ids(3)) * 0.25;
      (dense * 3).backward();
      ExpectClose(loss, dense, "loss");
      ExpectClose(x.grad(), TokensOf(dense_x.grad(), layout), "gradient of x");
      ExpectShardsOfDense(*output.parameters()[0]);
    }
  }
}

TEST_P(VocabParallel, LossWithoutGradientsIsTheSameAndLeavesNone) {
  for (const ActivationLayout layout :
       {ActivationLayout::kReplicated, ActivationLayout::kSplit}) {
    VocabParallelEmbedding output = MakeEmbedding();
    VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
    const at::Tensor x = TokensOf(Random("x", {kTokens, kWidth}), layout)
                             .clone()
                             .requires_grad_(true);
    const at::Tensor loss = cross_entropy.Loss(x, Ids(3), 0.25, layout);
    const at::NoGradGuard no_gradients;
    const at::Tensor same = cross_entropy.Loss(x, Ids(3), 0.25, layout);
    EXPECT_FALSE(same.requires_grad());
    EXPECT_TRUE(same.equal(loss));
    EXPECT_FALSE(output.rows().grad().defined());
  }
}

TEST_P(VocabParallel, NllAndLogitsMatchDense) {
  VocabParallelEmbedding output = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
  const at::Tensor x = Random("x", {kTokens, kWidth});
  const at::Tensor scores = DenseScores(x, DenseRows());
  ExpectClose(cross_entropy.Logits(x), scores, "logits");
  ExpectClose(cross_entropy.Nll(x, Ids(3)),
              at::cross_entropy_loss(scores, Ids(3), {}, at::Reduction::None),
              "nll");
}

TEST_P(VocabParallel, NllIsTheSameBitsOnAllRanks) {
  VocabParallelEmbedding output = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
  const at::Tensor nll =
      cross_entropy.Nll(Random("x", {kTokens, kWidth}), Ids(3));
  const at::Tensor of_rank_0 = nll.clone();
  axis().Broadcast(of_rank_0, 0);
  EXPECT_TRUE(nll.equal(of_rank_0));
}

TEST_P(VocabParallel, LargeScoresStayFinite) {
  VocabParallelEmbedding output = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
  const at::Tensor x =
      Random("x", {kTokens, kWidth}).mul_(1e4).requires_grad_(true);
  const at::Tensor loss = cross_entropy.Loss(x, Ids(3), 1);
  loss.backward();
  ExpectClose(loss, DenseLoss(x.detach(), DenseRows(), Ids(3)), "loss");
  EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
}

TEST_P(VocabParallel, NoTokensHaveNoLoss) {
  VocabParallelEmbedding output = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
  const at::Tensor x = at::empty({0, kWidth}, GetParam()).requires_grad_(true);
  const at::Tensor loss = cross_entropy.Loss(x, at::empty({0}, at::kLong), 1);
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
}

TEST_P(VocabParallel, RefusesTargetsInThePadding) {
  VocabParallelEmbedding output = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, 7);
  EXPECT_THROW(cross_entropy.Nll(Random("x", {kTokens, kWidth}),
                                 at::full({kTokens}, kVocab, at::kLong)),
               c10::Error);
}

class CountingHook : public torch::autograd::FunctionPostHook {
 public:
  explicit CountingHook(int* calls) : calls_(calls) {}
  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    ++*calls_;
    return outputs;
  }

 private:
  int* calls_;
};

TEST_P(VocabParallel, TiedEmbeddingGetsBothGradientsAndIsReadyOnce) {
  VocabParallelEmbedding embedding = MakeEmbedding();
  VocabParallelCrossEntropy cross_entropy(axis(), embedding, kVocab, 7);
  int calls = 0;
  const auto accumulator =
      torch::autograd::impl::grad_accumulator(embedding.rows());
  accumulator->add_post_hook(std::make_unique<CountingHook>(&calls));
  cross_entropy.Loss(embedding(Ids(0)).tanh(), Ids(3), 0.5).backward();
  EXPECT_EQ(calls, 1);

  const at::Tensor dense_x = at::embedding(DenseRows(), Ids(0)).tanh();
  (DenseLoss(dense_x, DenseRows(), Ids(3)) * 0.5).backward();
  ExpectShardsOfDense(*embedding.parameters()[0]);
}

// bf16 x and E with fp32 logits, statistics and gradient of E: against fp64 of
// the same rounded numbers.
class VocabParallelBfloat16 : public VocabParallel {
 protected:
  static at::Tensor Fp64(const at::Tensor& x) {
    return x.detach().to(at::kDouble);
  }
  // A leaf whose gradient is fp32.
  static void MakeMainGradient(VocabParallelEmbedding& layer) {
    layer.rows().mutable_grad() = at::zeros(layer.rows().sizes(), at::kFloat);
  }
  static double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
    return (Fp64(a) - Fp64(b)).abs().max().item<double>();
  }
};

TEST_P(VocabParallelBfloat16, LossIsExactAndGradientsErrLessThanThePlainPath) {
  const at::Tensor x = Random("x", {kTokens, kWidth}).requires_grad_(true);
  const at::Tensor exact_x = Fp64(x).requires_grad_(true);
  const at::Tensor exact_rows = Fp64(DenseRows()).requires_grad_(true);
  const at::Tensor exact = DenseLoss(exact_x, exact_rows, Ids(3)) * 0.25;
  (exact * 3).backward();
  const at::Tensor plain_x = x.detach().clone().requires_grad_(true);
  (DenseLoss(plain_x, DenseRows(), Ids(3)) * 0.25 * 3).backward();

  for (const int64_t chunk : {7, 64}) {
    VocabParallelEmbedding output = MakeEmbedding();
    MakeMainGradient(output);
    VocabParallelCrossEntropy cross_entropy(axis(), output, kVocab, chunk);
    x.mutable_grad() = at::Tensor();
    const at::Tensor loss = cross_entropy.Loss(x, Ids(3), 0.25);
    (loss * 3).backward();
    EXPECT_EQ(loss.scalar_type(), at::kFloat);
    EXPECT_LE(RelativeDifference(loss.detach(), exact.detach()), 5e-6);
    EXPECT_EQ(x.grad().scalar_type(), at::kBFloat16);
    // Each rank's part is rounded, and their sum.
    EXPECT_LE(MaxDifference(x.grad(), exact_x.grad()),
              2 * MaxDifference(plain_x.grad(), exact_x.grad()));
    EXPECT_EQ(output.rows().grad().scalar_type(), at::kFloat);
    const Box& box = output.parameters()[0]->pieces[0].box;
    EXPECT_LE(
        RelativeDifference(output.rows().grad(), BoxOf(exact_rows.grad(), box)),
        5e-6);
    EXPECT_LE(RelativeDifference(cross_entropy.Nll(x, Ids(3)),
                                 at::cross_entropy_loss(
                                     DenseScores(Fp64(x), exact_rows.detach()),
                                     Ids(3), {}, at::Reduction::None)),
              5e-6);
    EXPECT_LE(RelativeDifference(cross_entropy.Logits(x),
                                 DenseScores(Fp64(x), exact_rows.detach())),
              5e-6);
  }
}

// 20000 tokens of few ids: a sum in bf16 stops growing at 256.
TEST_P(VocabParallelBfloat16, EmbeddingGradientIsAddedInFp32) {
  VocabParallelEmbedding embedding = MakeEmbedding();
  MakeMainGradient(embedding);
  const at::Tensor tokens = at::arange(20000, at::kLong).remainder(2) * 9;
  const at::Tensor x = embedding(tokens);
  EXPECT_EQ(x.scalar_type(), at::kBFloat16);
  x.backward(at::ones_like(x));
  const at::Tensor whole = at::zeros({kPaddedVocab, kWidth}, at::kFloat);
  whole[0].fill_(10000);
  whole[9].fill_(10000);
  EXPECT_TRUE(
      at::equal(embedding.rows().grad(),
                BoxOf(whole, embedding.parameters()[0]->pieces[0].box)));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, VocabParallelBfloat16,
                         ::testing::Values(at::kBFloat16));

INSTANTIATE_TEST_SUITE_P(Dtypes, VocabParallel,
                         ::testing::Values(at::kDouble, at::kFloat));

}  // namespace
}  // namespace lextra
