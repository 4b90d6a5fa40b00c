// checkpoint and evaluate: decoders of torchscale scored to their golden values
// at many layouts, a trained run's table, and what the commands print.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <tuple>

#include "checkpoint/tensor_file.h"
#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/golden.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// fp32 against fp64 golden values, nats a token.
constexpr double kNllTolerance = 2e-5;

// A decoder of tests/golden with the smallest segments that its blocks allow,
// so that its short documents flow through all ranks.
struct Decoder {
  std::string name;
  int segment_tokens;
};

const Decoder kDecoders[] = {{"decoder_preln", 16}, {"decoder_subln", 10}};

class EvaluateTest : public EndToEndTest {
 protected:
  static std::string Import(const Decoder& decoder) {
    const std::string run = Path(decoder.name);
    if (fs::exists(run)) return run;
    const ProcessResult result = RunWell(Lextra(
        {"checkpoint", "import", "--format=torchscale",
         "--config=" + GoldenPath(decoder.name + ".json"),
         "--weights=" + GoldenPath(decoder.name + "_weights.safetensors"),
         "--to=" + run}));
    EXPECT_THAT(result.output, HasSubstr(run + "/step-00000000"));
    return run;
  }

  static std::string TokensFile(const std::string& name,
                                const at::Tensor& tokens_BT) {
    const std::string path = Path(name + ".safetensors");
    EXPECT_TRUE(WriteTensorFile(path, {{"tokens", tokens_BT}}).ok());
    return path;
  }

  // The NLL per token of a file's rows.
  static at::Tensor Score(int num_ranks, const std::string& checkpoint,
                          const std::string& tokens_file,
                          const Arguments& more) {
    const std::string nll_file = Path("nll.safetensors");
    fs::remove(nll_file);
    RunWell(LextraOn(
        num_ranks, Arguments{"evaluate", "--checkpoint=" + checkpoint,
                             "--tokens=" + tokens_file, "--nll_out=" + nll_file,
                             "parallel.num_threads=1"} +
                       more));
    absl::StatusOr<NamedTensors> tensors = ReadTensorFile(nll_file);
    EXPECT_TRUE(tensors.ok()) << tensors.status();
    if (!tensors.ok() || !tensors->contains("nll")) return at::zeros({0});
    return tensors->at("nll");
  }
};

class GoldenNllTest
    : public EvaluateTest,
      public ::testing::WithParamInterface<std::tuple<Decoder, int, int>> {};

TEST_P(GoldenNllTest, IsTorchscalesPlainAndBca) {
  const auto& [decoder, sequence, tensor] = GetParam();
  const std::string run = Import(decoder);
  const NamedTensors golden = Golden(decoder.name + "_io");
  const Arguments layout = {
      "parallel.data=1", "parallel.sequence=" + std::to_string(sequence),
      "parallel.tensor=" + std::to_string(tensor),
      "evaluation.segment_tokens=" + std::to_string(decoder.segment_tokens)};
  for (const auto& [mask, suffix] :
       {std::pair("CAUSAL", "plain"), std::pair("BCA", "bca")}) {
    SCOPED_TRACE(mask);
    const std::string tokens = TokensFile(
        decoder.name + suffix, golden.at(std::string("tokens_") + suffix));
    const at::Tensor nll = Score(
        sequence * tensor, run, tokens,
        layout + Arguments{std::string("evaluation.masks=[") + mask + "]"});
    EXPECT_EQ(nll.scalar_type(), at::kDouble);
    EXPECT_LT(MaxDifference(nll, golden.at(std::string("nll_") + suffix)),
              kNllTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, GoldenNllTest,
                         ::testing::Combine(::testing::ValuesIn(kDecoders),
                                            ::testing::Values(1, 2, 3),
                                            ::testing::Values(1, 2)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_sequence" +
                                  std::to_string(std::get<1>(info.param)) +
                                  "tensor" +
                                  std::to_string(std::get<2>(info.param));
                         });

TEST_F(EvaluateTest, RowsOfOneTokenOrNoneHaveNoTargets) {
  for (const int64_t length : {1, 0}) {
    const at::Tensor nll = Score(
        2, Import(kDecoders[0]),
        TokensFile("short", at::full({2, length}, 5, at::kLong)),
        {"parallel.data=1", "parallel.sequence=2", "evaluation.masks=[BCA]"});
    EXPECT_EQ(nll.sizes(), (std::vector<int64_t>{2, 0}));
  }
}

TEST_F(EvaluateTest, ATrainedRunIsScoredIntoATable) {
  const std::string run = Path("run");
  RunWell(LextraOn(2, Train(run)));
  const std::string results = Path("results");
  const ProcessResult evaluated = RunWell(LextraOn(
      2, {"evaluate", "--checkpoint=" + run, "--results_dir=" + results,
          "parallel.data=1", "parallel.sequence=2", "parallel.num_threads=1",
          "evaluation.lengths=[32, 128]",
          "evaluation.protocols=[NON_OVERLAPPING, PREFIX]",
          "evaluation.segment_tokens=64", "evaluation.max_tokens=4096"}));
  for (const char* name : {"results.json", "results.csv", "results.md"}) {
    EXPECT_TRUE(fs::is_regular_file(results + "/" + name)) << name;
  }
  // The table on the terminal is the one in the folder.
  EXPECT_THAT(evaluated.output, HasSubstr(ReadText(results + "/results.md")));

  const nlohmann::json json =
      nlohmann::json::parse(ReadText(results + "/results.json"));
  for (const char* key : {"results", "config", "versions", "command"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  std::set<std::string> rows;
  for (const nlohmann::json& row : json["results"]) {
    for (const char* key :
         {"protocol", "mask", "length", "nll", "perplexity", "bits_per_byte",
          "tokens", "documents", "standard_error", "keys_per_token",
          "tokens_per_second"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
    rows.insert(row["protocol"].get<std::string>() + " " +
                row["mask"].get<std::string>() + " " +
                std::to_string(row["length"].get<int64_t>()));
    const double nll = row["nll"];
    EXPECT_GT(nll, 1.0);
    EXPECT_LT(nll, 4.5);
    EXPECT_NEAR(row["perplexity"], std::exp(nll), 1e-9 * std::exp(nll));
    EXPECT_GT(row["tokens"], 0);
    EXPECT_GT(row["tokens_per_second"], 0);
  }
  EXPECT_EQ(rows.size(), json["results"].size());
  EXPECT_EQ(rows.size(), 8u) << ::testing::PrintToString(rows);
}

// One process with a limit on its data, and a document that takes ten times of
// what it has left for plain attention.
TEST_F(EvaluateTest, WhatPlainAttentionHasNoMemoryForIsRefusedAndScoredByBca) {
  const std::string run = Path("run_for_memory");
  RunWell(LextraOn(2, Train(run)));
  constexpr int64_t kTokens = 2'000'000;
  const std::string tokens =
      TokensFile("long", at::arange(kTokens, at::kLong) % 97);
  const auto evaluate = [&](const std::string& mask) {
    return Arguments{"prlimit", "--data=734003200"} +
           Lextra({"evaluate", "--checkpoint=" + run, "--tokens=" + tokens,
                   "--results_dir=" + Path("memory_" + mask),
                   "parallel.num_threads=1",
                   "evaluation.masks=[" + mask + "]"});
  };
  const ProcessResult refused = RunProcess(evaluate("CAUSAL"), kLimitSeconds);
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_THAT(refused.output,
              HasSubstr("evaluation.masks has CAUSAL, which holds all of a "
                        "piece at once: 2000000 tokens"));
  std::smatch sizes;
  const std::regex says("take ([0-9.]+) GiB on a rank, and ([0-9.]+) GiB");
  ASSERT_TRUE(std::regex_search(refused.output, sizes, says)) << refused.output;
  EXPECT_GT(std::stod(sizes[1]), 10 * std::stod(sizes[2])) << refused.output;
  RunWell(evaluate("BCA"));
  const nlohmann::json results =
      nlohmann::json::parse(ReadText(Path("memory_BCA") + "/results.json"));
  EXPECT_EQ(results["results"][0]["tokens"], kTokens - 1);
}

TEST_F(EvaluateTest, CheckpointListAndShowSayWhatIsThere) {
  const std::string run = Path("listed");
  RunWell(LextraOn(2, Train(run, {"--stop_at_step=4", "parallel.tensor=2",
                                  "checkpoint.every_steps=2"})));
  const std::string list = RunWell(Lextra({"checkpoint", "list", run})).output;
  EXPECT_THAT(list, ::testing::ContainsRegex(" 2 +1 x 2 .*MB +512  whole\n"));
  EXPECT_THAT(list, ::testing::ContainsRegex(" 4 +1 x 2 .*MB +1024  whole\n"));
  const std::string show = RunWell(Lextra({"checkpoint", "show", run})).output;
  for (const char* text :
       {"/step-00000004\n", "step           4\n", "tokens seen    1024\n",
        "byte, 257 ids, eos 256", "width: 32", "training_length: 32"}) {
    EXPECT_THAT(show, HasSubstr(text));
  }
  EXPECT_THAT(show, ::testing::ContainsRegex(
                        "layers.0.self_attn.q_proj.weight +4 +F32 .32, 32.\n"));
}

TEST_F(EvaluateTest, HelpAndVersionsArePrinted) {
  EXPECT_THAT(RunWell(Lextra({"--version"})).output,
              ::testing::ContainsRegex(
                  "^lextra .*LibTorch 2\\.11.*Open MPI 4\\..*Protobuf 3\\.21"));
  EXPECT_THAT(RunWell(Lextra({"--help"})).output,
              HasSubstr("usage: lextra COMMAND"));
  for (const std::string command :
       {"prepare", "train", "evaluate", "checkpoint"}) {
    EXPECT_THAT(RunWell(Lextra({command, "--help"})).output,
                HasSubstr("usage: lextra " + command));
  }
}

}  // namespace
}  // namespace lextra::testing
