// Bad input of every kind: one line that names what is wrong, the same exit
// code on all ranks, in seconds, and nothing half-written.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>

#include "checkpoint/tensor_file.h"
#include "tests/end_to_end/lextra_program.h"
#include "tests/testing/golden.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr double kBadInputSeconds = 10;
constexpr int kRanks = 2;

// Exit codes (base/status.h).
constexpr int kUsage = 2;
constexpr int kInput = 3;
constexpr int kCheckpoint = 4;
constexpr int kStorage = 8;

// What a run leaves that was refused once it had looked at its folder, and one
// that had begun to train.
const std::set<std::string>& LogOnly() {
  static const auto& names = *new std::set<std::string>{"new-run", "log.txt"};
  return names;
}
const std::set<std::string>& Records() {
  static const auto& names = *new std::set<std::string>{
      "new-run",  "config.textproto", "cmdline.txt",
      "env.json", "log.txt",          "metrics.jsonl"};
  return names;
}

// What each case starts from: a data set, a configuration and a run that has a
// checkpoint, all good, and a folder where no run is yet.
struct Scene {
  std::string folder;

  std::string Data(const std::string& suffix) const {
    return folder + "/corpus-train" + suffix;
  }
  std::string config() const { return folder + "/small.textproto"; }
  std::string run() const { return folder + "/run"; }
  std::string new_run() const { return folder + "/new-run"; }
  std::string Shard() const {
    return run() + "/step-00000002/shard-00000-of-00001.safetensors";
  }
  std::string Manifest() const {
    return run() + "/step-00000002/MANIFEST.json";
  }

  // Good but for what the case has broken or adds.
  Arguments Train(const std::string& run_folder,
                  const Arguments& more = {}) const {
    return Arguments{"train", "--config=" + config(), "--run_dir=" + run_folder,
                     "data.train=" + Data(""),
                     "data.validation=" + folder + "/corpus-validation"} +
           more;
  }
  Arguments TrainNew(const Arguments& more = {}) const {
    return Train(new_run(), more);
  }
  Arguments Evaluate(const Arguments& more = {}) const {
    return Arguments{"evaluate", "--checkpoint=" + run(),
                     "--results_dir=" + folder + "/results",
                     "parallel.context=2", "parallel.data=1"} +
           more;
  }
  // Two documents from a file, none of them the results'.
  Arguments EvaluateTokens(const Arguments& more = {}) const {
    const std::string path = folder + "/two.safetensors";
    EXPECT_TRUE(
        WriteTensorFile(path, {{"tokens", at::full({2, 50}, 65, at::kLong)}})
            .ok());
    return Arguments{"evaluate", "--checkpoint=" + run(), "--tokens=" + path,
                     "evaluation.masks=[BCA]"} +
           more;
  }
  Arguments Import(const Arguments& more = {}) const {
    return Arguments{"checkpoint", "import", "--format=torchscale",
                     "--to=" + new_run()} +
           more;
  }
};

struct BadInput {
  std::string name;
  int num_ranks;
  int exit_code;
  // Breaks something in the scene and returns the command line to run.
  std::function<Arguments(const Scene&)> make;
  // What the line must contain.
  std::vector<std::string> words;
  // What it may leave or add to, by name: nothing unless it had begun to run.
  // A folder "results" with no more than its lock is how evaluate sees early
  // that it can write.
  std::set<std::string> leaves = {};
};

void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

void Append(const std::string& path, const std::string& text) {
  WriteText(path, ReadText(path) + text);
}

template <typename Number>
void Overwrite(const std::string& path, size_t offset, Number number) {
  std::string bytes = ReadText(path);
  ASSERT_LE(offset + sizeof(number), bytes.size());
  std::memcpy(bytes.data() + offset, &number, sizeof(number));
  WriteText(path, bytes);
}

// Cases of a configuration that is refused, in the file or as an override.
BadInput BadConfigFile(const std::string& name, const std::string& text,
                       std::vector<std::string> words) {
  words.push_back("small.textproto:");
  return {name, kRanks, kUsage,
          [text](const Scene& scene) {
            Append(scene.config(), text);
            return scene.TrainNew();
          },
          std::move(words)};
}

BadInput BadArguments(const std::string& name, const Arguments& more,
                      std::vector<std::string> words) {
  return {name, kRanks, kUsage,
          [more](const Scene& scene) { return scene.TrainNew(more); },
          std::move(words)};
}

std::vector<BadInput> ConfigCases() {
  return {
      BadConfigFile("FileWithUnknownField", "\noptimizer { betta1: 0.9 }",
                    {"betta1", "beta1"}),
      BadConfigFile("FileWithNan", "\noptimizer { beta1: nan }",
                    {"optimizer.beta1"}),
      BadConfigFile("FileWithWrongType", "\noptimizer { epsilon: \"small\" }",
                    {"epsilon"}),
      BadConfigFile("FileWithRepeatedField", "\nlogging { every_steps: 2 }",
                    {"every_steps"}),
      BadArguments("OverrideOfUnknownField", {"model.hiden_size=3"},
                   {"model.hiden_size=3", "hidden_size"}),
      BadArguments("OverrideOfUnknownSection", {"modell.hidden_size=3"},
                   {"modell", "model"}),
      BadArguments("OverrideWithNan", {"schedule.learning_rate=nan"},
                   {"schedule.learning_rate=nan"}),
      BadArguments("OverrideWithWrongType", {"model.num_layers=two"},
                   {"model.num_layers=two", "an integer"}),
      BadArguments("OverrideWithUnknownName", {"model.norm=GROUP_NORM"},
                   {"model.norm=GROUP_NORM", "RMS_NORM"}),
      BadArguments("NegativeNumber", {"model.num_layers=-2"},
                   {"model.num_layers = -2", "at least 1"}),
      BadArguments("FractionOutOfRange", {"optimizer.beta2=1.5"},
                   {"optimizer.beta2 = 1.5", "less than 1"}),
      BadArguments("HeadsNotDivisibleByTensorDegree",
                   {"parallel.tensor=2", "model.num_heads=1"},
                   {"model.num_heads = 1", "parallel.tensor = 2"}),
      BadArguments("MeshOfAnotherSize", {"parallel.data=3"},
                   {"3 * 1 * 1", "world size, 2"}),
      BadArguments("BatchNotDivisibleByRanks", {"data.global_batch_size=7"},
                   {"data.global_batch_size = 7", "parallel.data = 2"}),
      BadArguments("VocabularyBelowTheData", {"model.vocab_size=100"},
                   {"model.vocab_size = 100"}),
      BadArguments("SequenceAxisInTraining", {"parallel.context=2"},
                   {"parallel.context = 2"}),
      BadArguments("OtherWorldSizeExpected", {"--expect_world_size=4"},
                   {"--expect_world_size=4", "2 rank(s)"}),
      BadArguments("UnknownFlag", {"--rundir=x"}, {"--rundir", "--run_dir"}),
      BadArguments("FlagOfWrongType", {"--stop_at_step=soon"},
                   {"--stop_at_step=soon", "non-negative integer"}),
      BadArguments("NegativeStep", {"--stop_at_step=-5"},
                   {"--stop_at_step=-5", "non-negative integer"}),
      BadArguments("NegativeWorldSize", {"--expect_world_size=-2"},
                   {"--expect_world_size=-2", "non-negative integer"}),
      BadArguments("NegativeStepToResume", {"--resume=-1"},
                   {"--resume=-1", "step number"}),
      {"ConfigFileThatIsNotThere",
       kRanks,
       kUsage,
       [](const Scene& scene) {
         fs::remove(scene.config());
         return scene.TrainNew();
       },
       {"small.textproto", "No such file"}},
      {"UnknownCommand",
       1,
       kUsage,
       [](const Scene&) { return Arguments{"trian"}; },
       {"unknown command 'trian'", "train"}},
      {"UnknownFlagOfEvaluate",
       kRanks,
       kUsage,
       [](const Scene& scene) { return scene.Evaluate({"--checkpoints=x"}); },
       {"--checkpoints", "--checkpoint"}},
      {"NllOutOfSeveralExtensions",
       kRanks,
       kUsage,
       [](const Scene& scene) {
         return scene.EvaluateTokens({"--nll_out=" + scene.folder + "/nll",
                                      "evaluation.rope_scaling=[NONE, YARN]"});
       },
       {"--nll_out", "one RoPE scaling"}},
      {"ExtensionThatChangesNoRow",
       kRanks,
       kUsage,
       [](const Scene& scene) {
         return scene.EvaluateTokens({"evaluation.rope_scaling=[YARN]"});
       },
       {"evaluation.rope_scaling", "no row to score"}},
      {"MeshOfAnotherSizeInEvaluate",
       kRanks,
       kUsage,
       [](const Scene& scene) { return scene.Evaluate({"parallel.tensor=2"}); },
       {"1 * 2 * 2", "world size, 2"}},
  };
}

std::vector<BadInput> DataCases() {
  return {
      {"MissingBin",
       kRanks,
       kInput,
       [](const Scene& scene) {
         fs::remove(scene.Data(".bin"));
         return scene.TrainNew();
       },
       {"corpus-train.bin", "No such file"}},
      {"MissingIdx",
       kRanks,
       kInput,
       [](const Scene& scene) {
         fs::remove(scene.Data(".idx"));
         return scene.TrainNew();
       },
       {"corpus-train.idx", "No such file"}},
      {"MissingValidationData",
       kRanks,
       kInput,
       [](const Scene& scene) {
         fs::remove(scene.folder + "/corpus-validation.bin");
         return scene.TrainNew();
       },
       {"corpus-validation.bin", "No such file"},
       LogOnly()},
      {"ValidationLengthsBeyondEveryDocument",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.TrainNew() +
                Arguments{"evaluation.lengths=[32, 10000000]",
                          "evaluation.validation_tokens=64"};
       },
       {"corpus-validation", "evaluation.lengths", "10000000", "the longest"},
       LogOnly()},
      {"TruncatedBin",
       kRanks,
       kInput,
       [](const Scene& scene) {
         fs::resize_file(scene.Data(".bin"),
                         fs::file_size(scene.Data(".bin")) - 2);
         return scene.TrainNew();
       },
       {"corpus-train.bin", "truncated"}},
      {"IdxThatPromisesMoreSequences",
       kRanks,
       kInput,
       [](const Scene& scene) {
         Overwrite(scene.Data(".idx"), 18, uint64_t{1} << 40);
         return scene.TrainNew();
       },
       {"corpus-train.idx", "1099511627776 sequences"}},
      {"IdxThatPromisesMoreDocuments",
       kRanks,
       kInput,
       [](const Scene& scene) {
         Overwrite(scene.Data(".idx"), 26, uint64_t{3});
         return scene.TrainNew();
       },
       {"corpus-train.idx", "3 document entries"}},
      {"IdxWithALieInALength",
       kRanks,
       kInput,
       [](const Scene& scene) {
         Overwrite(scene.Data(".idx"), 34, int32_t{1});
         return scene.TrainNew();
       },
       {"corpus-train.idx", "sequence 1"}},
      {"TokenIdBeyondTheVocabulary",
       kRanks,
       kInput,
       [](const Scene& scene) {
         std::string tokens = ReadText(scene.Data(".bin"));
         // One in every 16 of two bytes, so that every sample has one.
         for (size_t i = 0; i + 1 < tokens.size(); i += 32) {
           tokens[i] = '\x2c';
           tokens[i + 1] = '\x01';
         }
         WriteText(scene.Data(".bin"), tokens);
         return scene.TrainNew();
       },
       {"corpus-train.bin", "token id 300", "257"}},
      {"TokenIdBeyondTheVocabularyThatIsFoundWhenItIsRead",
       kRanks,
       kInput,
       [](const Scene& scene) {
         std::string tokens = ReadText(scene.Data(".bin"));
         // Outside of the pages that are looked at when the set is opened.
         const size_t step = tokens.size() / 64;
         EXPECT_GT(step, size_t{2} * 4096);
         for (size_t i = 0; i + 1 < tokens.size(); i += 32) {
           if (i % step < 4200 || i / step > 62) continue;
           tokens[i] = '\x2c';
           tokens[i + 1] = '\x01';
         }
         WriteText(scene.Data(".bin"), tokens);
         return scene.TrainNew();
       },
       {"corpus-train.bin", "token id 300", "257"},
       Records()},
      {"VocabularyBeyondTheTypeOfTheTokens",
       kRanks,
       kInput,
       [](const Scene& scene) {
         std::string meta = ReadText(scene.Data(".meta.json"));
         WriteText(scene.Data(".meta.json"),
                   meta.replace(meta.find("257"), 3, "70000"));
         return scene.TrainNew();
       },
       {"corpus-train.meta.json", "vocab_size 70000", "uint16", "65536"}},
      {"ValidationDataOfALargerVocabulary",
       kRanks,
       kInput,
       [](const Scene& scene) {
         const std::string path = scene.folder + "/corpus-validation.meta.json";
         std::string meta = ReadText(path);
         WriteText(path, meta.replace(meta.find("257"), 3, "65000"));
         return scene.TrainNew();
       },
       {"corpus-validation", "64999", "257"},
       LogOnly()},
      {"DataSetSmallerThanASample",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.TrainNew({"model.training_length=2000000"});
       },
       {"corpus-train"},
       LogOnly()},
      {"EmptyCorpusFolder",
       1,
       kInput,
       [](const Scene& scene) {
         fs::create_directory(scene.folder + "/texts");
         return Arguments{"prepare", "--output=" + scene.folder + "/tokens",
                          scene.folder + "/texts"};
       },
       {"/texts"}},
      {"CorpusOfEmptyFiles",
       1,
       kInput,
       [](const Scene& scene) {
         fs::create_directory(scene.folder + "/texts");
         WriteText(scene.folder + "/texts/a.txt", "");
         return Arguments{"prepare", "--output=" + scene.folder + "/tokens",
                          scene.folder + "/texts"};
       },
       {"document"}},
      {"CorpusThatIsNotThere",
       1,
       kInput,
       [](const Scene& scene) {
         return Arguments{"prepare", "--output=" + scene.folder + "/tokens",
                          scene.folder + "/texts"};
       },
       {"/texts"}},
      {"ResolutionLengthBeyondEveryDocument",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.Evaluate({"evaluation.resolution_lengths=[100000000]"});
       },
       {"evaluation.resolution_lengths", "100000000"}},
      {"PasskeyLengthBeyondEveryDocument",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.Evaluate({"evaluation.synthetic_trials=1",
                                "evaluation.passkey_lengths=[100000000]"});
       },
       {"evaluation.passkey_lengths", "100000000"}},
      {"TokensFileThatIsNotThere",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.Evaluate(
             {"--tokens=" + scene.folder + "/tokens.safetensors"});
       },
       {"tokens.safetensors", "No such file"}},
      {"TokensFileThatIsNotSafetensors",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.Evaluate({"--tokens=" + scene.config()});
       },
       {"small.textproto"}},
      {"TokensFileWithoutTokens",
       kRanks,
       kInput,
       [](const Scene& scene) {
         return scene.Evaluate({"--tokens=" + scene.Shard()});
       },
       {"safetensors", "tokens"}},
      {"TokensFileWithAnIdBeyondTheVocabulary",
       kRanks,
       kInput,
       [](const Scene& scene) {
         const std::string path = scene.folder + "/tokens.safetensors";
         const at::Tensor tokens = at::full({1, 100}, 65, at::kLong);
         tokens[0][98] = 257;
         EXPECT_TRUE(WriteTensorFile(path, {{"tokens", tokens}}).ok());
         return scene.Evaluate({"--tokens=" + path});
       },
       {"257", "98"},
       {"results"}},
      {"ImportOfWeightsThatAreNotThere",
       1,
       kInput,
       [](const Scene& scene) {
         return scene.Import({"--config=" + GoldenPath("decoder_preln.json"),
                              "--weights=" + scene.folder + "/none"});
       },
       {"/none", "No such file"}},
      {"ImportOfAConfigurationThatIsNotThere",
       1,
       kInput,
       [](const Scene& scene) {
         return scene.Import({"--config=" + scene.folder + "/none",
                              "--weights=" + scene.Shard()});
       },
       {"/none", "No such file"}},
  };
}

// A checkpoint that was damaged, as train and evaluate meet it.
std::vector<BadInput> DamagedCheckpoint(
    const std::string& name, const std::function<void(const Scene&)>& damage,
    const std::vector<std::string>& words) {
  return {{name + "InTrain", kRanks, kCheckpoint,
           [damage](const Scene& scene) {
             damage(scene);
             return scene.Train(scene.run());
           },
           words, LogOnly()},
          {name + "InEvaluate",
           kRanks,
           kCheckpoint,
           [damage](const Scene& scene) {
             damage(scene);
             return scene.Evaluate();
           },
           words,
           {"results"}}};
}

std::vector<BadInput> CheckpointCases() {
  std::vector<BadInput> cases = {
      {"RunFolderThatIsNotThereInEvaluate",
       kRanks,
       kCheckpoint,
       [](const Scene& scene) {
         fs::remove_all(scene.run());
         return scene.Evaluate();
       },
       {"/run"}},
      {"RunFolderWithoutCheckpointInEvaluate",
       kRanks,
       kCheckpoint,
       [](const Scene& scene) {
         fs::remove_all(scene.run() + "/step-00000002");
         return scene.Evaluate();
       },
       {"/run", "no checkpoint"}},
      {"RunFolderWithoutCheckpointInShow",
       1,
       kCheckpoint,
       [](const Scene& scene) {
         fs::remove_all(scene.run() + "/step-00000002");
         return Arguments{"checkpoint", "show", scene.run()};
       },
       {"/run", "no checkpoint"}},
  };
  for (const auto& damaged :
       {DamagedCheckpoint(
            "FolderWithoutManifest",
            [](const Scene& scene) { fs::remove(scene.Manifest()); },
            {"step-00000002", "MANIFEST.json"}),
        DamagedCheckpoint("ManifestCutOff",
                          [](const Scene& scene) {
                            fs::resize_file(
                                scene.Manifest(),
                                fs::file_size(scene.Manifest()) / 2);
                          },
                          {"MANIFEST.json"}),
        DamagedCheckpoint("MissingShard",
                          [](const Scene& scene) { fs::remove(scene.Shard()); },
                          {"shard-00000-of-00001.safetensors", "missing"}),
        DamagedCheckpoint("ShardOfTheWrongSize",
                          [](const Scene& scene) {
                            fs::resize_file(scene.Shard(),
                                            fs::file_size(scene.Shard()) - 1);
                          },
                          {"shard-00000-of-00001.safetensors", "bytes"}),
        DamagedCheckpoint("ShardWithADamagedHeader",
                          [](const Scene& scene) {
                            Overwrite(scene.Shard(), 0, uint64_t{1} << 60);
                          },
                          {"shard-00000-of-00001.safetensors"})}) {
    cases.insert(cases.end(), damaged.begin(), damaged.end());
  }
  return cases;
}

std::vector<BadInput> StorageCases() {
  return {
      {"RunFolderThatIsAFile",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         WriteText(scene.new_run(), "");
         return scene.TrainNew();
       },
       {"/new-run"}},
      {"RunFolderBelowAFile",
       kRanks,
       kStorage,
       [](const Scene& scene) { return scene.Train(scene.config() + "/run"); },
       {"small.textproto"}},
      {"OutputOfPrepareBelowAFile",
       1,
       kStorage,
       [](const Scene& scene) {
         return Arguments{"prepare", "--output=" + scene.config() + "/tokens",
                          scene.config()};
       },
       {"small.textproto"}},
      {"NllOutThatIsAFolder",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         return scene.EvaluateTokens({"--nll_out=" + scene.folder});
       },
       {"--nll_out", "not a regular file"}},
      {"NllOutBelowAFile",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         return scene.EvaluateTokens({"--nll_out=" + scene.config() + "/nll"});
       },
       {"--nll_out", "small.textproto"}},
      {"NllOutWhoseNameIsTooLong",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         return scene.EvaluateTokens(
             {"--nll_out=" + scene.folder + "/" + std::string(255, 'n')});
       },
       {"--nll_out", "too long"}},
      {"ResultsThatAFolderIsInThePlaceOf",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         fs::create_directories(scene.folder + "/results/report.html");
         return scene.Evaluate();
       },
       {"/results/report.html", "not a regular file"}},
      {"ResultsFolderThatIsAFile",
       kRanks,
       kStorage,
       [](const Scene& scene) {
         WriteText(scene.folder + "/results", "");
         return scene.Evaluate();
       },
       {"/results"}},
  };
}

std::vector<BadInput> AllCases() {
  std::vector<BadInput> all;
  for (const auto& cases :
       {ConfigCases(), DataCases(), CheckpointCases(), StorageCases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

std::map<std::string, std::string> FilesBelow(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    files[entry.path()] =
        entry.is_directory() ? "a folder" : ReadText(entry.path());
  }
  return files;
}

std::vector<std::string> LinesWith(const std::string& word,
                                   const std::string& text) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(word) != std::string::npos) found.push_back(line);
  }
  return found;
}

class BadInputTest : public EndToEndTest,
                     public ::testing::WithParamInterface<BadInput> {
 protected:
  static void SetUpTestSuite() {
    EndToEndTest::SetUpTestSuite();
    RunWell(Lextra(Train(Path("run"), {"--stop_at_step=2"})));
  }

  Scene MakeScene() {
    const Scene scene = {Path("scene")};
    fs::remove_all(scene.folder);
    fs::create_directory(scene.folder);
    for (const auto& entry : fs::directory_iterator(Path(""))) {
      if (entry.path().filename() == "scene") continue;
      fs::copy(entry.path(), fs::path(scene.folder) / entry.path().filename(),
               fs::copy_options::recursive);
    }
    return scene;
  }
};

// Each rank's own exit code is printed, and the shell ends with 0: so no rank
// is ended by mpirun because another one failed.
Arguments PrintingExitCodes(const Arguments& command) {
  return Arguments{"sh", "-c", "\"$@\"; echo \"exit code: $?\"", "sh"} +
         command;
}

TEST_P(BadInputTest, EndsWithOneLineAndOneCodeAndLeavesNothing) {
  const BadInput& bad = GetParam();
  const Scene scene = MakeScene();
  const Arguments arguments = bad.make(scene);
  const std::map<std::string, std::string> before = FilesBelow(scene.folder);
  const Arguments command = PrintingExitCodes(Lextra(arguments));
  const ProcessResult result =
      RunProcess(bad.num_ranks == 1 ? command : Mpirun(bad.num_ranks, command),
                 kBadInputSeconds);
  EXPECT_FALSE(result.timed_out) << result.output;

  const std::vector<std::string> errors = LinesWith("error:", result.output);
  ASSERT_EQ(errors.size(), 1u) << result.output;
  EXPECT_TRUE(errors[0].starts_with("lextra: error: ")) << errors[0];
  for (const std::string& word : bad.words) {
    EXPECT_THAT(errors[0], HasSubstr(word));
  }
  EXPECT_EQ(LinesWith("exit code: ", result.output),
            std::vector<std::string>(
                bad.num_ranks, "exit code: " + std::to_string(bad.exit_code)))
      << result.output;

  for (const auto& [path, bytes] : FilesBelow(scene.folder)) {
    const std::string name = fs::path(path).filename();
    // A refused job has taken its folder; a training sets aside what is
    // damaged. The scene's data are copies, whose digest is made again.
    if (bad.leaves.contains(name) || name == "LOCK" || name == "RUN_ID" ||
        name == "results.lock" || name.ends_with(".digest.json") ||
        path.find("/.bad-") != std::string::npos) {
      continue;
    }
    EXPECT_TRUE(before.contains(path)) << path << " is new";
    EXPECT_TRUE(!before.contains(path) || before.at(path) == bytes)
        << path << " has changed";
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, BadInputTest, ::testing::ValuesIn(AllCases()),
                         [](const auto& info) { return info.param.name; });

TEST_F(EndToEndTest, MpirunEndsWithTheCodeOfTheRanks) {
  const ProcessResult result = RunProcess(
      LextraOn(kRanks, Train(Path("new-run"), {"model.hidden_size=-1"})),
      kBadInputSeconds);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, kUsage);
}

}  // namespace
}  // namespace lextra::testing
