// A model small enough for every layout, with weights large enough that what a
// query sees matters.
#ifndef LEXTRA_TESTS_EVALUATOR_SMALL_MODEL_H_
#define LEXTRA_TESTS_EVALUATOR_SMALL_MODEL_H_

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "config/resolve.h"
#include "config/run.pb.h"
#include "tests/testing/mpi_world.h"

namespace lextra::testing {

inline constexpr int64_t kBlock = 8;

inline ModelConfig SmallModel(Precision precision) {
  RunConfig config;
  ModelConfig& model = *config.mutable_model();
  model.set_num_layers(2);
  model.set_hidden_size(32);
  model.set_num_heads(4);
  model.set_num_kv_heads(2);
  model.set_ffn_hidden_size(64);
  model.set_vocab_size(50);
  model.set_pad_vocab_to_multiple_of(16);
  model.set_training_length(2 * kBlock);
  model.set_init_std(0.3);
  model.set_precision(precision);
  const absl::Status resolved = Resolve(&config, Purpose::kEvaluate, 1);
  EXPECT_TRUE(resolved.ok()) << resolved;
  return config.model();
}

inline at::Tensor RandomTokens(int64_t num_documents, int64_t num_tokens) {
  at::manual_seed(17);
  return at::randint(50, {num_documents, num_tokens}, at::kLong);
}

inline EvaluationConfig SmallEvaluation() {
  EvaluationConfig config;
  config.add_masks(CAUSAL);
  config.add_masks(BCA);
  config.add_protocols(NON_OVERLAPPING);
  config.add_protocols(PREFIX);
  config.add_protocols(STREAMING);
  config.add_rope_scaling(RopeScaling::NONE);
  config.add_lengths(10);
  config.add_lengths(4 * kBlock);
  config.set_block_size(kBlock);
  config.set_segment_tokens(3 * kBlock);
  return config;
}

// All data x context x tensor layouts of this test's ranks, tensor 1 or 2.
inline std::vector<MeshShape> Layouts() {
  std::vector<MeshShape> layouts;
  const int size = Session().size();
  for (int data = 1; data <= size; ++data) {
    for (const int tensor : {1, 2}) {
      if (size % (data * tensor) != 0) continue;
      layouts.push_back(
          {.data = data, .context = size / (data * tensor), .tensor = tensor});
    }
  }
  return layouts;
}

// Those that share each document among all ranks.
inline std::vector<MeshShape> LayoutsOfOneDocument() {
  std::vector<MeshShape> layouts = Layouts();
  std::erase_if(layouts, [](MeshShape layout) { return layout.data > 1; });
  return layouts;
}

inline std::string Name(MeshShape layout) {
  return absl::StrFormat("data %d context %d tensor %d", layout.data,
                         layout.context, layout.tensor);
}

inline std::unique_ptr<DeviceMesh> MeshOfThisRankAlone() {
  return DeviceMesh::Create(
             Session().World()->Split(Session().rank(), 0, "world"), {})
      .value();
}

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_EVALUATOR_SMALL_MODEL_H_
