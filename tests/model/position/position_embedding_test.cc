// Sinusoidal and learned positions.
#include "model/position/position_embedding.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/initialization.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::Golden;
using testing::MaxDifference;
using testing::Session;

ModelConfig WidthConfig(int64_t width, PositionMethod method) {
  ModelConfig model;
  model.set_hidden_size(width);
  model.set_position_encoding(method);
  model.set_training_length(24);
  return model;
}

PositionEmbedding MakeEmbedding(const ModelConfig& model, Communicator& axis) {
  return PositionEmbedding(model, axis, MakeInitializer(model, at::kCPU));
}

// fp64 against values stored in fp32.
TEST(PositionEmbedding, SinusoidsAreTheGoldenOnesAtAnyPositions) {
  const std::unique_ptr<Communicator> axis = Session().World();
  for (const char* name : {"sinusoidal_N32_d16", "sinusoidal_N20_d50"}) {
    const at::Tensor golden = Golden(name).at("vaswani");
    const int64_t length = golden.size(0);
    const PositionEmbedding embedding =
        MakeEmbedding(WidthConfig(golden.size(1), SINUSOIDAL), *axis);
    const at::Tensor zeros =
        at::zeros({2, length, golden.size(1)}, at::kDouble);
    const at::Tensor expected = golden.expand_as(zeros);
    EXPECT_LT(MaxDifference(embedding.AddTo(zeros, {2, length}, {},
                                            ActivationLayout::kReplicated),
                            expected),
              1e-7);
    const at::Tensor backwards =
        at::arange(length - 1, -1, -1, at::kLong).expand({2, length});
    EXPECT_LT(MaxDifference(embedding.AddTo(zeros, {2, length}, backwards,
                                            ActivationLayout::kReplicated),
                            expected.flip(1)),
              1e-7);
  }
}

TEST(PositionEmbedding, LearnedRowsAreAddedAndGetTheSumOfTheirGradients) {
  const std::unique_ptr<Communicator> axis = Session().World();
  PositionEmbedding embedding = MakeEmbedding(WidthConfig(8, LEARNED), *axis);
  Parameter& rows = *embedding.parameters()[0];
  EXPECT_EQ(rows.pieces[0].name, "embed_positions.weight");
  const at::Tensor x = testing::Random({3, 10, 8}, 1).to(at::kFloat);
  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor positions = at::arange(4, 14, at::kLong).expand({3, 10});
  const at::Tensor y =
      embedding.AddTo(leaf, {3, 10}, positions, ActivationLayout::kReplicated);
  EXPECT_EQ(MaxDifference(y, x + rows.leaf.narrow(0, 4, 10)), 0);
  const at::Tensor dy = testing::Random({3, 10, 8}, 2).to(at::kFloat);
  y.backward(dy);
  EXPECT_EQ(MaxDifference(leaf.grad(), dy), 0);
  EXPECT_LT(MaxDifference(rows.leaf.grad().narrow(0, 4, 10), dy.sum(0)), 1e-6);
  EXPECT_EQ(rows.leaf.grad().narrow(0, 14, 10).abs().max().item<float>(), 0);
}

TEST(PositionEmbedding, SplitTokensGetTheirOwnPositions) {
  const std::unique_ptr<Communicator> axis = Session().World();
  const int64_t part = 24 / axis->size();
  for (const PositionMethod method : {SINUSOIDAL, LEARNED}) {
    const PositionEmbedding embedding =
        MakeEmbedding(WidthConfig(8, method), *axis);
    const at::Tensor x = testing::Random({2, 12, 8}, 1).to(at::kFloat);
    const at::Tensor whole =
        embedding.AddTo(x, {2, 12}, {}, ActivationLayout::kReplicated)
            .flatten(0, 1);
    const at::Tensor mine =
        x.flatten(0, 1).narrow(0, axis->rank() * part, part);
    EXPECT_EQ(MaxDifference(
                  embedding.AddTo(mine, {2, 12}, {}, ActivationLayout::kSplit),
                  whole.narrow(0, axis->rank() * part, part)),
              0);
  }
}

TEST(PositionEmbedding, RefusesPlacesBeyondALearnedTable) {
  const std::unique_ptr<Communicator> axis = Session().World();
  const PositionEmbedding embedding =
      MakeEmbedding(WidthConfig(8, LEARNED), *axis);
  EXPECT_THROW(embedding.AddTo(at::zeros({1, 25, 8}), {1, 25}, {},
                               ActivationLayout::kReplicated),
               c10::Error);
}

}  // namespace
}  // namespace lextra
