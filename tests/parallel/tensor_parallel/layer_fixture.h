// What the tests of the sharded layers share: whole tensors that depend on
// their names only, and the comparison of this rank's shards with the dense
// layer's tensors.
#ifndef LEXTRA_TESTS_PARALLEL_TENSOR_PARALLEL_LAYER_FIXTURE_H_
#define LEXTRA_TESTS_PARALLEL_TENSOR_PARALLEL_LAYER_FIXTURE_H_

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/seeds.h"
#include "parallel/parameter.h"
#include "parallel/tensor_parallel/conjugate_collectives.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"
#include "tests/testing/tolerances.h"

namespace lextra::testing {

inline at::Tensor RandomTensor(const std::string& name,
                               const std::vector<int64_t>& shape,
                               at::ScalarType dtype) {
  const at::Generator generator =
      at::make_generator<at::CPUGeneratorImpl>(SeedFor(7, name));
  return at::normal(0.0, 1.0, shape, generator, at::TensorOptions(at::kDouble))
      .to(dtype);
}

// Dtype of the layers and of the dense reference.
class ShardedLayers : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor Random(const std::string& name,
                    const std::vector<int64_t>& shape) const {
    return RandomTensor(name, shape, GetParam());
  }

  Initializer initializer() const {
    return [this](const std::string& name, const std::vector<int64_t>& shape) {
      return Random(name, shape);
    };
  }

  // The whole parameter as a leaf of the dense reference.
  at::Tensor Dense(const std::string& name, const std::vector<int64_t>& shape) {
    at::Tensor& leaf = dense_[name];
    if (!leaf.defined()) leaf = Random(name, shape).requires_grad_(true);
    return leaf;
  }

  void ExpectClose(const at::Tensor& mine, const at::Tensor& dense,
                   const std::string& what) const {
    EXPECT_LE(RelativeDifference(mine.detach(), dense.detach()),
              kShardedLayer(GetParam()))
        << what;
  }

  // Values and gradients of all pieces of `parameter` are this rank's boxes of
  // the dense ones; gradients of a replicated one that has seen split tokens
  // add up to it over the ranks.
  void ExpectShardsOfDense(
      const Parameter& parameter,
      ActivationLayout layout = ActivationLayout::kReplicated) {
    if (layout == ActivationLayout::kSplit && !parameter.tensor_sharded) {
      axis().AllReduce(GradientOf(parameter.leaf), ReduceOp::kSum);
    }
    const MeshPlace place = {.tensor_rank = axis().rank(),
                             .num_tensor = axis().size()};
    const auto values = parameter.Shards(parameter.leaf, place);
    const auto gradients = parameter.Shards(GradientOf(parameter.leaf), place);
    for (size_t i = 0; i < values.size(); ++i) {
      const at::Tensor& dense = dense_.at(values[i].name);
      EXPECT_EQ(values[i].global_shape, dense.sizes().vec());
      EXPECT_TRUE(values[i].tensor.equal(BoxOf(dense, values[i].box)))
          << values[i].name;
      ExpectClose(gradients[i].tensor, BoxOf(dense.grad(), gradients[i].box),
                  "gradient of " + values[i].name);
    }
  }

  static at::Tensor BoxOf(at::Tensor whole, const Box& box) {
    for (size_t dim = 0; dim < box.shape.size(); ++dim) {
      whole = whole.narrow(dim, box.offset[dim], box.shape[dim]);
    }
    return whole;
  }

  // This rank's part of the last dimension.
  at::Tensor PartOf(const at::Tensor& whole) {
    return whole.chunk(axis().size(), -1)[axis().rank()];
  }

  // This rank's tokens of [.., C] as it has them between the layers.
  at::Tensor TokensOf(const at::Tensor& whole, ActivationLayout layout) {
    if (layout == ActivationLayout::kReplicated) return whole;
    return whole.flatten(0, -2).chunk(axis().size())[axis().rank()];
  }

  Communicator& axis() { return mesh_->tensor(); }

  const std::unique_ptr<DeviceMesh> mesh_ =
      MakeMesh({.tensor = Session().size()});
  std::map<std::string, at::Tensor> dense_;
};

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_PARALLEL_TENSOR_PARALLEL_LAYER_FIXTURE_H_
