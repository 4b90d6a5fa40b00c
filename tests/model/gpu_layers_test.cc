// Layers on tensors of a GPU against fp64 on the CPU: skipped, with the reason,
// where there is none. The same claims hold on the CPU, where they are tested
// everywhere. fp64 to 1e-12 and fp32 to 5e-6 of the largest element; bf16 errs
// at most twice as much as ATen's operators in bf16, both against fp64 of the
// same rounded numbers. No layer makes the host wait for the GPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/seeds.h"
#include "config/model_facts.h"
#include "model/feed_forward.h"
#include "model/norm.h"
#include "ops/cuda_kernel.h"
#include "parallel/nccl/cuda_backend.h"
#include "parallel/tensor_parallel/sharded_layers.h"
#include "tests/model/reference.h"
#include "tests/testing/golden.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::MaxDifference;
using testing::RelativeDifference;

constexpr double kEpsilon = 1e-5;

struct Placement {
  at::DeviceType device;
  at::ScalarType dtype;
};

// What a layer makes, by name.
using Results = std::vector<std::pair<std::string, at::Tensor>>;

// Where a layer or its reference runs, and the numbers it gets there: those of
// a name are the same everywhere, rounded to bf16 where the test's dtype is.
struct Numbers {
  at::Device device;
  at::ScalarType dtype;
  bool rounded;

  at::Tensor operator()(const std::string& name, at::IntArrayRef shape) const {
    const at::Tensor whole = testing::Random(shape, SeedFor(1, name));
    return (rounded ? whole.to(at::kBFloat16) : whole).to(dtype).to(device);
  }
  at::Tensor Leaf(const std::string& name, at::IntArrayRef shape) const {
    return (*this)(name, shape).requires_grad_(true);
  }
  at::Tensor Ids(int64_t count, int64_t vocabulary) const {
    return at::arange(count).mul_(7919).remainder_(vocabulary).to(device);
  }
  Initializer initializer() const {
    return [this](const std::string& name, const std::vector<int64_t>& shape) {
      return (*this)(name, shape);
    };
  }
};

class LayersOn : public ::testing::TestWithParam<Placement> {
 protected:
  void SetUp() override {
    const std::unique_ptr<Communicator> world = testing::Session().World();
    if (GetParam().device == at::kCPU) {
      axis_ = testing::Session().World();
      return;
    }
    absl::StatusOr<std::unique_ptr<Communicator>> gpu =
        MakeCudaCommunicator(*world);
    if (!gpu.ok()) GTEST_SKIP() << std::string(gpu.status().message());
    axis_ = *std::move(gpu);
  }

  void TearDown() override {
    if (axis_ == nullptr) return;
    EXPECT_TRUE(axis_->Finalize().ok());
  }

  Numbers Here() const {
    return {axis_->device(), GetParam().dtype,
            GetParam().dtype == at::kBFloat16};
  }
  Numbers InFp64() const {
    return {at::kCPU, at::kDouble, GetParam().dtype == at::kBFloat16};
  }

  // bf16 leaves have gradients in fp32.
  static void MakeMainGradients(const std::vector<Parameter*>& parameters) {
    for (const Parameter* parameter : parameters) {
      const at::Tensor& leaf = parameter->leaf;
      if (leaf.scalar_type() != at::kBFloat16) continue;
      leaf.mutable_grad() =
          at::zeros(leaf.sizes(), leaf.options().dtype(at::kFloat));
    }
  }

  void ExpectAsGood(const Results& mine,
                    const std::function<Results(const Numbers&)>& reference) {
    const Results exact = reference(InFp64());
    Results plain;
    if (GetParam().dtype == at::kBFloat16) plain = reference(Here());
    ASSERT_EQ(mine.size(), exact.size());
    for (size_t i = 0; i < mine.size(); ++i) {
      const auto on_host = [](const at::Tensor& x) {
        return x.detach().to(at::kCPU);
      };
      const at::Tensor own = on_host(mine[i].second);
      const at::Tensor& right = exact[i].second.detach();
      if (GetParam().dtype == at::kBFloat16) {
        EXPECT_LE(MaxDifference(own, right),
                  2 * MaxDifference(on_host(plain[i].second), right))
            << mine[i].first;
      } else {
        EXPECT_LE(RelativeDifference(own, right),
                  GetParam().dtype == at::kDouble ? 1e-12 : 5e-6)
            << mine[i].first;
      }
    }
  }

  std::unique_ptr<Communicator> axis_;
};

Results ReferenceOfResidualNorm(const Numbers& numbers, Norm kind, bool bias,
                                int64_t width) {
  const std::vector<int64_t> shape = {40, width};
  const at::Tensor x = numbers.Leaf("x", shape);
  const at::Tensor branch = numbers.Leaf("branch", shape);
  const at::Tensor w = numbers.Leaf("n.weight", {width});
  const at::Tensor b = bias ? numbers.Leaf("n.bias", {width}) : at::Tensor();
  const at::Tensor sum = x + branch;
  const at::Tensor y =
      kind == LAYER_NORM
          ? at::layer_norm(sum, {width}, w, b, kEpsilon)
          : sum * at::rsqrt(sum.square().mean(-1, true) + kEpsilon) * w;
  at::Tensor loss = (y * numbers("dy", shape)).sum();
  loss = loss + (sum * numbers("dsum", shape)).sum();
  loss.backward();
  Results results = {{"sum", sum},
                     {"y", y},
                     {"dx", x.grad()},
                     {"dbranch", branch.grad()},
                     {"dweight", w.grad()}};
  if (bias) results.push_back({"dbias", b.grad()});
  return results;
}

TEST_P(LayersOn, NormOfAResidualStreamMatchesFp64) {
  for (const Norm kind : {LAYER_NORM, RMS_NORM}) {
    for (const int64_t width : {33, 512, 1500}) {
      SCOPED_TRACE(::testing::Message() << Norm_Name(kind) << " " << width);
      const bool bias = kind == LAYER_NORM;
      const Numbers here = Here();
      NormLayer norm(kind, "n", width, kEpsilon, bias, nullptr,
                     here.initializer());
      MakeMainGradients(norm.parameters());
      const std::vector<int64_t> shape = {40, width};
      const at::Tensor x = here.Leaf("x", shape);
      const at::Tensor branch = here.Leaf("branch", shape);
      const at::Tensor dy = here("dy", shape);
      const at::Tensor dsum = here("dsum", shape);
      NormLayer::Residual out;
      {
        const HostSyncsAreErrors check(here.device);
        out = norm(x, branch);
        at::Tensor loss = (out.normalized * dy).sum();
        loss = loss + (out.x * dsum).sum();
        loss.backward();
      }
      Results mine = {{"sum", out.x},
                      {"y", out.normalized},
                      {"dx", x.grad()},
                      {"dbranch", branch.grad()}};
      for (const Parameter* parameter : norm.parameters()) {
        mine.push_back({parameter->pieces[0].name, parameter->leaf.grad()});
      }
      ExpectAsGood(mine, [&](const Numbers& numbers) {
        return ReferenceOfResidualNorm(numbers, kind, bias, width);
      });
    }
  }
}

ModelConfig FeedForwardConfig(Activation activation) {
  ModelConfig model;
  model.set_hidden_size(48);
  model.set_ffn_hidden_size(200);
  model.set_activation(activation);
  model.set_sub_ln(true);
  model.set_bias(true);
  return model;
}

Results ReferenceOfFeedForward(const Numbers& numbers,
                               const ModelConfig& model) {
  const int64_t width = model.hidden_size();
  const int64_t inner = model.ffn_hidden_size();
  const auto leaf = [&](const std::string& name, at::IntArrayRef shape) {
    return numbers.Leaf("f." + name, shape);
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name,
                          int64_t out) {
    return at::linear(x, leaf(name + ".weight", {out, x.size(-1)}),
                      leaf(name + ".bias", {out}));
  };
  const at::Tensor x = numbers.Leaf("x", {60, width});
  const at::Tensor up = linear(x, "fc1", inner);
  const at::Tensor active = model.activation() == SWIGLU
                                ? at::silu(linear(x, "gate", inner)) * up
                                : at::gelu(up);
  const at::Tensor y = linear(
      at::layer_norm(active, {inner}, leaf("ffn_layernorm.weight", {inner}),
                     leaf("ffn_layernorm.bias", {inner}), model.norm_epsilon()),
      "fc2", width);
  y.backward(numbers("dy", {60, width}));
  return {{"y", y}, {"dx", x.grad()}};
}

TEST_P(LayersOn, FeedForwardMatchesFp64) {
  for (const Activation activation : {GELU, SWIGLU}) {
    SCOPED_TRACE(Activation_Name(activation));
    const ModelConfig model = FeedForwardConfig(activation);
    const Numbers here = Here();
    FeedForward layer(model, "f", *axis_, here.initializer());
    const at::Tensor x = here.Leaf("x", {60, model.hidden_size()});
    const at::Tensor dy = here("dy", {60, model.hidden_size()});
    at::Tensor y;
    {
      const HostSyncsAreErrors check(here.device);
      y = layer(x);
      y.backward(dy);
    }
    ExpectAsGood({{"y", y}, {"dx", x.grad()}}, [&](const Numbers& numbers) {
      return ReferenceOfFeedForward(numbers, model);
    });
  }
}

constexpr int64_t kVocab = 1003;
constexpr int64_t kPaddedVocab = 1024;
constexpr int64_t kWidth = 64;
constexpr int64_t kTokens = 300;

Results ReferenceOfLoss(const Numbers& numbers) {
  const at::Tensor rows = numbers.Leaf("e.weight", {kPaddedVocab, kWidth});
  const at::Tensor x = numbers.Leaf("x", {kTokens, kWidth});
  const at::Tensor loss =
      at::cross_entropy_loss(at::mm(x, rows.narrow(0, 0, kVocab).t()),
                             numbers.Ids(kTokens, kVocab), {},
                             at::Reduction::Sum) *
      (1.0 / kTokens);
  loss.backward();
  return {{"loss", loss}, {"dx", x.grad()}, {"dE", rows.grad()}};
}

TEST_P(LayersOn, ChunkedCrossEntropyMatchesFp64) {
  for (const int64_t chunk : {128, 4096}) {
    const Numbers here = Here();
    VocabParallelEmbedding output(*axis_, "e", kPaddedVocab, kWidth,
                                  here.initializer());
    MakeMainGradients(output.parameters());
    VocabParallelCrossEntropy cross_entropy(*axis_, output, kVocab, chunk);
    const at::Tensor x = here.Leaf("x", {kTokens, kWidth});
    const at::Tensor targets = here.Ids(kTokens, kVocab);
    at::Tensor loss;
    {
      const HostSyncsAreErrors check(here.device);
      loss = cross_entropy.Loss(x, targets, 1.0 / kTokens);
      loss.backward();
    }
    ExpectAsGood(
        {{"loss", loss}, {"dx", x.grad()}, {"dE", output.rows().grad()}},
        ReferenceOfLoss);
  }
}

Results ReferenceOfEmbedding(const Numbers& numbers) {
  const at::Tensor rows = numbers.Leaf("e.weight", {kPaddedVocab, kWidth});
  const at::Tensor x = at::embedding(rows, numbers.Ids(5000, 17));
  x.backward(numbers("dx", {5000, kWidth}));
  return {{"x", x}, {"dE", rows.grad()}};
}

TEST_P(LayersOn, EmbeddingMatchesFp64AndRepeatsInDeterministicMode) {
  const Numbers here = Here();
  const auto run = [&](bool deterministic) -> Results {
    VocabParallelEmbedding embedding(*axis_, "e", kPaddedVocab, kWidth,
                                     here.initializer());
    MakeMainGradients(embedding.parameters());
    const at::Tensor tokens = here.Ids(5000, 17);
    const at::Tensor dx = here("dx", {5000, kWidth});
    at::globalContext().setDeterministicAlgorithms(deterministic,
                                                   /*warn_only=*/false);
    at::Tensor x;
    {
      const HostSyncsAreErrors check(here.device);
      x = embedding(tokens);
      x.backward(dx);
    }
    at::globalContext().setDeterministicAlgorithms(false, false);
    return {{"x", x}, {"dE", embedding.rows().grad()}};
  };
  const Results first = run(/*deterministic=*/true);
  ExpectAsGood(first, ReferenceOfEmbedding);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::equal(run(true)[1].second, first[1].second));
  }
  ExpectAsGood(run(/*deterministic=*/false), ReferenceOfEmbedding);
}

std::string NameOf(const ::testing::TestParamInfo<Placement>& info) {
  return c10::toString(info.param.dtype);
}

INSTANTIATE_TEST_SUITE_P(Cpu, LayersOn,
                         ::testing::Values(Placement{at::kCPU, at::kDouble},
                                           Placement{at::kCPU, at::kFloat},
                                           Placement{at::kCPU, at::kBFloat16}),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Gpu, LayersOn,
                         ::testing::Values(Placement{at::kCUDA, at::kDouble},
                                           Placement{at::kCUDA, at::kFloat},
                                           Placement{at::kCUDA, at::kBFloat16}),
                         NameOf);

}  // namespace
}  // namespace lextra
