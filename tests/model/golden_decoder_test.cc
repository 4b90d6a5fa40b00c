// Whole torchscale decoders, plain and blockwise, at several tensor degrees.
#include "tests/model/golden_decoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "model/transformer.h"
#include "tests/model/reference.h"
#include "tests/testing/mpi_world.h"

namespace lextra {
namespace {

using testing::BoxOf;
using testing::FromBlocks;
using testing::Golden;
using testing::GoldenDecoderConfig;
using testing::LoadWeights;
using testing::MakeMesh;
using testing::MaxDifference;
using testing::RelativeDifference;
using testing::Session;
using testing::ToBlocks;

// Largest differences allowed. fp64: the rounding of the files, 5e-7 times the
// largest value. fp32: four times what torchscale itself loses in fp32 (the
// table of tests/golden's README), on top of that rounding.
struct Tolerances {
  double logits;
  double logits_blockwise;
  double logits_long;  // plain at the blockwise length
  double gradients;
};

Tolerances TolerancesOf(const std::string& name, Precision precision) {
  if (precision == FP64) return {3e-6, 3e-6, 3e-6, 1e-6};
  if (name == "preln") return {4 * 3.8e-6, 4 * 2.8e-6, 4 * 3.7e-6, 4 * 1.1e-7};
  return {4 * 6.3e-6, 4 * 5.0e-6, 4 * 1.1e-5, 4 * 3.4e-7};
}

// One decoder at one tensor degree.
class GoldenDecoder {
 public:
  GoldenDecoder(const std::string& name, PositionMethod position,
                Precision precision, Communicator& tensor_axis)
      : config_(GoldenDecoderConfig(name, position, precision)),
        block_(config_.training_length() / 2),
        positions_(MakePositionEncoding(config_, block_)),
        model_(config_, tensor_axis) {
    LoadWeights(Golden("decoder_" + name + "_weights"), model_);
  }

  Transformer& model() { return model_; }

  at::Tensor Hidden(const at::Tensor& tokens,
                    std::vector<at::Tensor>* states = nullptr) {
    CausalAttention attention(*positions_, model_.num_kv_heads());
    return model_(tokens, attention, {}, states);
  }

  at::Tensor HiddenBlockwise(const at::Tensor& tokens) {
    const int64_t documents = tokens.size(0);
    BlockwiseCausalAttention attention(*positions_, model_.num_kv_heads(),
                                       documents);
    return FromBlocks(model_(ToBlocks(tokens, block_), attention), documents,
                      tokens.size(1));
  }

  at::Tensor Logits(const at::Tensor& hidden) {
    return model_.cross_entropy()
        .Logits(hidden.flatten(0, 1))
        .view({hidden.size(0), hidden.size(1), -1});
  }

  // [B, T-1]: of each token but the first.
  at::Tensor Nll(const at::Tensor& hidden, const at::Tensor& tokens) {
    const int64_t length = tokens.size(1) - 1;
    return model_.cross_entropy()
        .Nll(hidden.narrow(1, 0, length).flatten(0, 1),
             tokens.narrow(1, 1, length).flatten())
        .view({tokens.size(0), length});
  }

  at::Tensor Loss(const at::Tensor& tokens) {
    const int64_t length = tokens.size(1) - 1;
    return model_.cross_entropy().Loss(
        Hidden(tokens).narrow(1, 0, length).flatten(0, 1),
        tokens.narrow(1, 1, length).flatten(),
        1.0 / static_cast<double>(tokens.size(0) * length));
  }

 private:
  ModelConfig config_;
  int64_t block_;
  std::unique_ptr<PositionEncoding> positions_;
  Transformer model_;
};

// Calls expect(decoder, io, tolerances) for both decoders, both precisions and
// all tensor degrees that the ranks and the heads allow.
template <typename Expect>
void ForEachDecoder(PositionMethod position, Expect expect) {
  for (const int degree : {1, 2, 4}) {
    if (Session().size() % degree != 0) continue;
    const auto mesh =
        MakeMesh({.data = Session().size() / degree, .tensor = degree});
    for (const char* name : {"preln", "subln"}) {
      if (GoldenDecoderConfig(name, position, FP32).num_heads() % degree != 0) {
        continue;
      }
      for (const Precision precision : {FP32, FP64}) {
        SCOPED_TRACE(::testing::Message()
                     << name << " " << Precision_Name(precision)
                     << " tensor degree " << degree);
        GoldenDecoder decoder(name, position, precision, mesh->tensor());
        expect(decoder, name, TolerancesOf(name, precision));
      }
    }
    EXPECT_TRUE(mesh->Finalize().ok());
  }
}

NamedTensors Io(const std::string& name) {
  return Golden("decoder_" + name + "_io");
}

TEST(GoldenDecoder, LogitsMatchTorchscalePlainAndBlockwise) {
  const at::NoGradGuard no_gradients;
  const std::pair<PositionMethod, std::string> methods[] = {
      {XPOS, ""}, {ROPE, "_rope"}, {NONE, "_nope"}};
  for (const auto& [position, suffix] : methods) {
    ForEachDecoder(position, [&](GoldenDecoder& decoder, const char* name,
                                 const Tolerances& tolerances) {
      const NamedTensors io = Io(name);
      EXPECT_LE(
          MaxDifference(decoder.Logits(decoder.Hidden(io.at("tokens_plain"))),
                        io.at("logits_plain" + suffix)),
          tolerances.logits)
          << suffix;
      EXPECT_LE(MaxDifference(decoder.Logits(
                                  decoder.HiddenBlockwise(io.at("tokens_bca"))),
                              io.at("logits_bca" + suffix)),
                tolerances.logits_blockwise)
          << suffix;
      if (position != XPOS) return;
      EXPECT_LE(
          MaxDifference(decoder.Logits(decoder.Hidden(io.at("tokens_bca"))),
                        io.at("logits_causal_long")),
          tolerances.logits_long);
    });
  }
}

TEST(GoldenDecoder, StatesOfEveryLayerMatchTorchscale) {
  const at::NoGradGuard no_gradients;
  ForEachDecoder(XPOS, [](GoldenDecoder& decoder, const char* name,
                          const Tolerances& tolerances) {
    const NamedTensors io = Io(name);
    std::vector<at::Tensor> states;
    decoder.Hidden(io.at("tokens_plain"), &states);
    EXPECT_LE(MaxDifference(at::stack(states), io.at("hidden_plain")),
              tolerances.logits);
  });
}

// NLL of every token and the mean: relative to values around 5, the logits'
// tolerance.
TEST(GoldenDecoder, NllMatchesTorchscalePlainAndBlockwise) {
  const at::NoGradGuard no_gradients;
  ForEachDecoder(XPOS, [](GoldenDecoder& decoder, const char* name,
                          const Tolerances& tolerances) {
    const NamedTensors io = Io(name);
    const at::Tensor plain = io.at("tokens_plain");
    const at::Tensor longer = io.at("tokens_bca");
    EXPECT_LE(MaxDifference(decoder.Nll(decoder.Hidden(plain), plain),
                            io.at("nll_plain")),
              tolerances.logits);
    EXPECT_LE(
        MaxDifference(decoder.Nll(decoder.HiddenBlockwise(longer), longer),
                      io.at("nll_bca")),
        tolerances.logits_blockwise);
    EXPECT_LE(
        MaxDifference(decoder.Loss(plain).unsqueeze(0), io.at("loss_plain")),
        tolerances.logits);
  });
}

// Padded rows of the vocabulary are compared with zeros.
TEST(GoldenDecoder, GradientOfEveryParameterMatchesTorchscale) {
  ForEachDecoder(XPOS, [](GoldenDecoder& decoder, const char* name,
                          const Tolerances& tolerances) {
    const NamedTensors expected =
        Golden("decoder_" + std::string(name) + "_grads");
    decoder.Loss(Io(name).at("tokens_plain")).backward();
    size_t num_compared = 0;
    for (const Parameter* parameter : decoder.model().parameters()) {
      for (const ShardedTensor& shard :
           parameter->Shards(parameter->leaf.grad())) {
        EXPECT_LE(
            MaxDifference(shard.tensor, BoxOf(expected.at(shard.name), shard)),
            tolerances.gradients)
            << shard.name;
        ++num_compared;
      }
    }
    EXPECT_EQ(num_compared, expected.size());
  });
}

}  // namespace
}  // namespace lextra
