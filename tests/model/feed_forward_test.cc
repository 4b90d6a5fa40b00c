#include "model/feed_forward.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "base/seeds.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::MakeMesh;
using testing::Random;
using testing::RelativeDifference;
using testing::Session;

constexpr int64_t kWidth = 10;
constexpr int64_t kInner = 24;

at::Tensor Whole(const std::string& name, at::IntArrayRef shape) {
  return Random(shape, SeedFor(1, name)) * 0.5;
}

// The whole layer by ATen's autograd.
class Dense {
 public:
  explicit Dense(const ModelConfig& model) : model_(model) {}

  at::Tensor operator()(const at::Tensor& x) {
    at::Tensor y = Linear(x, "f.fc1", kInner, kWidth);
    y = model_.activation() == SWIGLU
            ? at::silu(Linear(x, "f.gate", kInner, kWidth)) * y
            : at::gelu(y);
    if (model_.sub_ln()) {
      y = at::layer_norm(
          y, {kInner}, Leaf("f.ffn_layernorm.weight", {kInner}),
          model_.bias() ? Leaf("f.ffn_layernorm.bias", {kInner}) : at::Tensor(),
          model_.norm_epsilon());
    }
    return Linear(y, "f.fc2", kWidth, kInner);
  }

  at::Tensor Leaf(const std::string& name, at::IntArrayRef shape) {
    at::Tensor& leaf = leaves_[name];
    if (!leaf.defined()) leaf = Whole(name, shape).requires_grad_(true);
    return leaf;
  }

 private:
  at::Tensor Linear(const at::Tensor& x, const std::string& name, int64_t out,
                    int64_t in) {
    return at::linear(
        x, Leaf(name + ".weight", {out, in}),
        model_.bias() ? Leaf(name + ".bias", {out}) : at::Tensor());
  }

  ModelConfig model_;
  std::map<std::string, at::Tensor> leaves_;
};

// Inner width over all ranks against the dense layer: fp64, 1e-12.
TEST(FeedForward, MatchesTheDenseLayerForwardAndBackward) {
  const auto mesh = MakeMesh({.tensor = Session().size()});
  for (const Activation activation : {GELU, SWIGLU}) {
    for (const bool sub_ln : {false, true}) {
      for (const bool bias : {false, true}) {
        SCOPED_TRACE(::testing::Message()
                     << Activation_Name(activation) << " sub_ln " << sub_ln
                     << " bias " << bias);
        ModelConfig model;
        model.set_hidden_size(kWidth);
        model.set_ffn_hidden_size(kInner);
        model.set_activation(activation);
        model.set_sub_ln(sub_ln);
        model.set_bias(bias);
        FeedForward layer(model, "f", mesh->tensor(), Whole);
        Dense dense(model);
        const at::Tensor x = Random({4, 6, kWidth}, 1).requires_grad_(true);
        const at::Tensor own_x = x.detach().clone().requires_grad_(true);
        const at::Tensor dy = Random({4, 6, kWidth}, 2);
        const at::Tensor expected = dense(x);
        const at::Tensor y = layer(own_x);
        expected.backward(dy);
        y.backward(dy);
        EXPECT_LE(RelativeDifference(y.detach(), expected.detach()), 1e-12);
        EXPECT_LE(RelativeDifference(own_x.grad(), x.grad()), 1e-12);
        for (const Parameter* parameter : layer.parameters()) {
          for (const ShardedTensor& shard :
               parameter->Shards(parameter->leaf.grad())) {
            at::Tensor whole = dense.Leaf(shard.name, {}).grad();
            for (size_t dim = 0; dim < shard.box.shape.size(); ++dim) {
              whole = whole.narrow(dim, shard.box.offset[dim],
                                   shard.box.shape[dim]);
            }
            EXPECT_LE(RelativeDifference(shard.tensor, whole), 1e-12)
                << shard.name;
          }
        }
      }
    }
  }
  EXPECT_TRUE(mesh->Finalize().ok());
}

}  // namespace
}  // namespace lextra
