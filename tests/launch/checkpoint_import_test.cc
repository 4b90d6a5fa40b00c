#include "launch/checkpoint_import.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "checkpoint/files/step_folders.h"
#include "checkpoint/load_tensors.h"
#include "config/load.h"
#include "model/torchscale_adapter.h"
#include "tests/testing/golden.h"

namespace lextra {
namespace {

using testing::Golden;
using testing::GoldenPath;
using testing::TemporaryFolder;

std::string JsonOf(const std::string& name) {
  std::ifstream file(GoldenPath(name + ".json"));
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ImportCheckpoint, WritesACheckpointThatLoadsBitEqual) {
  const TemporaryFolder folder;
  for (const std::string name : {"decoder_preln", "decoder_subln"}) {
    const std::string run_folder = absl::StrCat(folder.path(), "/", name);
    const absl::Status imported =
        ImportCheckpoint("torchscale", GoldenPath(name + ".json"),
                         GoldenPath(name + "_weights.safetensors"), run_folder);
    ASSERT_TRUE(imported.ok()) << imported;
    const absl::StatusOr<std::string> step = FindCheckpoint(run_folder);
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_EQ(*step, run_folder + "/step-00000000");
    const absl::StatusOr<Manifest> manifest = ReadManifest(*step);
    ASSERT_TRUE(manifest.ok()) << manifest.status();
    const absl::StatusOr<RunConfig> config =
        ParseRunConfig(manifest->state().config(), "manifest");
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(
        config->model().SerializeAsString(),
        TorchscaleConfig(JsonOf(name), name)->model().SerializeAsString());

    const NamedTensors golden = Golden(name + "_weights");
    at::Tensor loaded = at::empty({48, config->model().hidden_size()});
    const Box box = {{49, 0}, {48, config->model().hidden_size()}};
    const absl::Status status =
        LoadTensors(*step, *manifest,
                    {{.name = "embed_tokens.weight",
                      .global_shape = {128, config->model().hidden_size()},
                      .box = box,
                      .tensor = loaded}});
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(
        at::equal(loaded, golden.at("embed_tokens.weight").narrow(0, 49, 48)));
    // Nothing is replaced: a second import is refused.
    EXPECT_EQ(ExitCodeOf(ImportCheckpoint(
                  "torchscale", GoldenPath(name + ".json"),
                  GoldenPath(name + "_weights.safetensors"), run_folder)),
              ExitCode::kCheckpoint);
  }
}

TEST(ImportCheckpoint, NamesTheFormatsThatAreRead) {
  const absl::Status status = ImportCheckpoint("megatron", "c", "w", "run");
  EXPECT_EQ(status.message(),
            "unknown --format=megatron (available: torchscale)");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
}

}  // namespace
}  // namespace lextra
