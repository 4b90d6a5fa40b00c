// checkpoint and evaluate: decoders of torchscale scored to their golden values
// at many layouts, a trained run's table, and what the commands print.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <tuple>

#include "checkpoint/files/run_lock.h"
#include "checkpoint/tensor_file.h"
#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/golden.h"
#include "tests/testing/tolerances.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// fp32 against fp64 golden values, nats a token.

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
      "parallel.data=1", "parallel.context=" + std::to_string(sequence),
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
              testing::kProgramNll);
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
        {"parallel.data=1", "parallel.context=2", "evaluation.masks=[BCA]"});
    EXPECT_EQ(nll.sizes(), (std::vector<int64_t>{2, 0}));
  }
}

TEST_F(EvaluateTest, ATrainedRunIsScoredIntoATable) {
  const std::string run = Path("run");
  RunWell(LextraOn(2, Train(run)));
  const std::string results = Path("results");
  const ProcessResult evaluated = RunWell(LextraOn(
      2, {"evaluate", "--checkpoint=" + run, "--results_dir=" + results,
          "parallel.data=1", "parallel.context=2", "parallel.num_threads=1",
          "evaluation.lengths=[32, 128]",
          "evaluation.protocols=[NON_OVERLAPPING, PREFIX]",
          "evaluation.segment_tokens=64", "evaluation.max_tokens=4096"}));
  for (const char* name :
       {"results.json", "report.csv", "report.md", "report.html"}) {
    EXPECT_TRUE(fs::is_regular_file(results + "/" + name)) << name;
  }
  // The tables on the terminal are those in the folder.
  const std::string report = ReadText(results + "/report.md");
  EXPECT_THAT(evaluated.output,
              HasSubstr(report.substr(report.find("| protocol"))));

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

// A command as typed in a folder.
Arguments In(const std::string& folder, const Arguments& command) {
  Arguments whole = {"env", "-C", folder};
  whole.push_back(fs::absolute(command[0]));
  return whole + Arguments(command.begin() + 1, command.end());
}

// Small rows, scored by one process.
Arguments EvaluateQuickly(const std::string& checkpoint,
                          const Arguments& more = {}) {
  return Lextra(Arguments{"evaluate", "--checkpoint=" + checkpoint,
                          "parallel.num_threads=1", "evaluation.masks=[BCA]",
                          "evaluation.lengths=[32]",
                          "evaluation.max_tokens=256"} +
                more);
}

TEST_F(EvaluateTest, ResultsLieNextToCheckpointsHoweverPathsAreTyped) {
  const std::string home = Path("a folder\nof two lines");
  const std::string run = home + "/run 1";
  fs::create_directories(run);
  for (const char* name : {"small.textproto", "corpus-train.bin",
                           "corpus-train.idx", "corpus-train.meta.json"}) {
    fs::create_symlink(Path(name), home + "/" + name);
  }
  // From a folder of its own, with data named from there.
  const std::string data = Path("data");
  fs::create_directory(data);
  for (const char* name : {"corpus-validation.bin", "corpus-validation.idx",
                           "corpus-validation.meta.json"}) {
    fs::create_symlink(Path(name), data + "/" + name);
  }
  RunWell(
      In(data, Lextra({"train", "--config=" + home + "/small.textproto",
                       "--run_dir=" + run + "/", "data.train=../corpus-train",
                       "data.validation=./corpus-validation"})));
  const std::string step = run + "/step-00000020";
  const std::string results = run + "/eval/step-00000020/results.json";
  fs::create_directory_symlink(step, home + "/best");
  const std::vector<Arguments> commands = {
      EvaluateQuickly(step + "/"), EvaluateQuickly(home + "/best"),
      In(step, EvaluateQuickly(".")),
      In(home, EvaluateQuickly("run 1/step-00000020/")),
      In(run, EvaluateQuickly(".", {"--results_dir=./eval/step-00000020/"}))};
  for (const Arguments& command : commands) {
    fs::remove(results);
    RunWell(command);
    EXPECT_TRUE(fs::is_regular_file(results));
    const nlohmann::json json = nlohmann::json::parse(ReadText(results));
    EXPECT_EQ(fs::canonical(json["checkpoint"]["path"].get<std::string>()),
              fs::canonical(step));
    EXPECT_EQ(json["data"]["path"], data + "/corpus-validation");
  }
  // The manifest, one shard and the mark of its read-back.
  EXPECT_EQ(std::distance(fs::directory_iterator(step), {}), 3);
  EXPECT_EQ(ReadText(run + "/eval/step-00000020/report.md").find("\nof"),
            std::string::npos);
  for (const std::string& named : {run + "/.", run + "/eval/"}) {
    EXPECT_THAT(RunWell(Lextra({"report", named})).output,
                HasSubstr("/step-00000020/report.html"));
  }
  RunWell(
      In(fs::path(results).parent_path(), Lextra({"report", "results.json"})));
  for (const Arguments& refused :
       {EvaluateQuickly(run, {"--results_dir=" + step + "/eval"}),
        Lextra({"report", "--output=" + home + "/best/eval", run}),
        Lextra({"checkpoint", "copy", run, step + "/"}),
        Lextra(Train(step + "/."))}) {
    const ProcessResult result = RunProcess(refused, kLimitSeconds);
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_THAT(result.output, HasSubstr("inside the checkpoint"));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(step), {}), 3);
  RunWell(Lextra({"checkpoint", "show", step + "/."}));
  RunWell(Lextra({"checkpoint", "verify", run + "/"}));
  EXPECT_THAT(RunWell(In(run, Lextra({"checkpoint", "list", "."}))).output,
              HasSubstr(" intact\n"));
  fs::remove_all(data);
  const ProcessResult lost = RunProcess(EvaluateQuickly(run), kLimitSeconds);
  EXPECT_EQ(lost.exit_code, 3) << lost.output;
  EXPECT_THAT(lost.output, HasSubstr("data.validation=" + data +
                                     "/corpus-validation comes from the "
                                     "checkpoint; give data.validation="));
}

TEST_F(EvaluateTest, AFolderInUseOrWithOtherResultsIsRefused) {
  const std::string run = Path("run_of_two_steps");
  RunWell(LextraOn(2, Train(run, {"checkpoint.interval_steps=10"})));
  const std::string results = Path("held results");
  const Arguments there = {"--results_dir=" + results};
  const std::string first = run + "/step-00000010";
  const auto refuse = [](const Arguments& command, int code,
                         const std::string& says) {
    const ProcessResult result = RunProcess(command, kLimitSeconds);
    EXPECT_EQ(result.exit_code, code) << result.output;
    EXPECT_THAT(result.output, HasSubstr(says));
    // After the data's digest, before the model.
    EXPECT_THAT(result.output, Not(HasSubstr("rank(s): data")));
  };
  fs::create_directory(results);
  {
    const auto lock = RunLock::AcquireResults(results);
    ASSERT_TRUE(lock.ok()) << lock.status();
    refuse(EvaluateQuickly(first, there), 5,
           "process " + std::to_string(getpid()));
  }
  RunWell(EvaluateQuickly(first, there));
  const std::string before = ReadText(results + "/results.json");
  refuse(EvaluateQuickly(run, there), 2, "step 10, FP32; data");
  refuse(Lextra({"evaluate", "--checkpoint=" + first, there[0],
                 "evaluation.lengths=[32, 64]", "evaluation.masks=[BCA]",
                 "evaluation.max_tokens=256"}),
         2, "evaluation.lengths: [32] -> [32, 64]");
  refuse(EvaluateQuickly(first, there + Arguments{"model.precision=BF16"}), 2,
         "BF16");
  EXPECT_EQ(ReadText(results + "/results.json"), before);
  // The same again.
  RunWell(EvaluateQuickly(first, there + Arguments{"parallel.tensor=1"}));
  // Each step has a folder of its own, and the newest counts for a report.
  RunWell(EvaluateQuickly(first));
  RunWell(EvaluateQuickly(run));
  EXPECT_TRUE(fs::exists(run + "/eval/step-00000010/results.json"));
  EXPECT_THAT(RunWell(Lextra({"report", run})).output,
              HasSubstr("/step-00000020/report.html"));
}

TEST_F(EvaluateTest, TargetsBeyondTheBudgetAreNan) {
  const std::string tokens =
      TokensFile("budget", at::arange(60, at::kLong).reshape({3, 20}));
  const at::Tensor nll = Score(2, Import(kDecoders[0]), tokens,
                               {"parallel.data=2", "evaluation.masks=[BCA]",
                                "evaluation.max_tokens=25"});
  ASSERT_EQ(nll.sizes(), (std::vector<int64_t>{3, 19}));
  const at::Tensor scored = nll.flatten().narrow(0, 0, 25);
  EXPECT_TRUE(scored.isfinite().all().item<bool>()) << scored;
  EXPECT_TRUE(scored.gt(0).all().item<bool>()) << scored;
  EXPECT_TRUE(nll.flatten().narrow(0, 25, 32).isnan().all().item<bool>());
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
  EXPECT_THAT(
      refused.output,
      HasSubstr("evaluation.masks has CAUSAL, which holds a whole piece "
                "in memory: 2000000 tokens"));
  std::smatch sizes;
  const std::regex says("need ([0-9.]+) GiB per rank, but ([0-9.]+) GiB");
  ASSERT_TRUE(std::regex_search(refused.output, sizes, says)) << refused.output;
  EXPECT_GT(std::stod(sizes[1]), 10 * std::stod(sizes[2])) << refused.output;
  RunWell(evaluate("BCA"));
  const nlohmann::json results =
      nlohmann::json::parse(ReadText(Path("memory_BCA") + "/results.json"));
  EXPECT_EQ(results["results"][0]["tokens"], kTokens - 1);
}

// A weight that is a NaN, as a checkpoint from elsewhere may have it: no row,
// no file, and an exit code that says so.
TEST_F(EvaluateTest, AnNllThatIsNotFiniteEndsWithItsOwnCodeAndWritesNothing) {
  const std::string weights = Path("nan_weights.safetensors");
  NamedTensors tensors = Golden("decoder_preln_weights");
  const auto norm = std::ranges::find_if(tensors, [](const auto& named) {
    return named.first.ends_with("layer_norm.bias");
  });
  ASSERT_NE(norm, tensors.end());
  norm->second.view({-1})[0] = std::nan("");
  ASSERT_TRUE(WriteTensorFile(weights, tensors).ok());
  const std::string run = Path("nan_run");
  RunWell(Lextra({"checkpoint", "import", "--format=torchscale",
                  "--config=" + GoldenPath("decoder_preln.json"),
                  "--weights=" + weights, "--to=" + run}));
  const std::string results = Path("nan_results");
  const ProcessResult result = RunProcess(
      Lextra({"evaluate", "--checkpoint=" + run,
              "--tokens=" + TokensFile("some", at::full({1, 40}, 5, at::kLong)),
              "--results_dir=" + results, "evaluation.masks=[BCA]",
              "parallel.num_threads=1"}),
      kLimitSeconds);
  EXPECT_EQ(result.exit_code, 7) << result.output;
  EXPECT_THAT(result.output,
              HasSubstr("the NLL of document 0 at position 1 is not finite"));
  EXPECT_THAT(result.output, Not(HasSubstr("| streaming")));
  EXPECT_FALSE(fs::exists(results + "/results.json"));
}

TEST_F(EvaluateTest, CheckpointListAndShowSayWhatIsThere) {
  const std::string run = Path("listed");
  RunWell(LextraOn(2, Train(run, {"--stop_at_step=4", "parallel.tensor=2",
                                  "checkpoint.interval_steps=2"})));
  const std::string list = RunWell(Lextra({"checkpoint", "list", run})).output;
  const ProcessResult refused = RunProcess(
      Lextra({"checkpoint", "list", run + "/step-00000004"}), kLimitSeconds);
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("is a checkpoint, not a run folder"));
  EXPECT_THAT(list, ::testing::ContainsRegex(" 2 +1 x 2 .*MB +512  intact\n"));
  EXPECT_THAT(list, ::testing::ContainsRegex(" 4 +1 x 2 .*MB +1024  intact\n"));
  const std::string show = RunWell(Lextra({"checkpoint", "show", run})).output;
  for (const char* text :
       {"/step-00000004\n", "step           4\n", "tokens seen    1024\n",
        "byte, 257 ids, eos 256", "hidden_size: 32", "training_length: 32"}) {
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
