// Ranks of one job that see or are given different things: refused in one line
// before any work, with a code that no supervisor starts again.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kUsage = 2;
constexpr int kInput = 3;
constexpr int kCheckpoint = 4;

class SameStartTest : public EndToEndTest {
 protected:
  // Two folders that stand for what two hosts see: the same data set and a run.
  static void SetUpTestSuite() {
    EndToEndTest::SetUpTestSuite();
    for (const std::string host : {"a", "b"}) {
      fs::create_directory(Path(host));
      for (const std::string split : {"train", "validation"}) {
        for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
          fs::copy(Path("corpus-" + split) + suffix,
                   Path(host) + "/" + split + suffix);
        }
      }
      RunWell(Lextra(Train(Path(host) + "/run",
                           {"--stop_at_step=1", "evaluation.lengths=[32]"})));
    }
    fs::copy(Path("a/run"), Path("a/copy"), fs::copy_options::recursive);
    fs::copy(Path("a/run"), Path("b/copy"), fs::copy_options::recursive);
  }

  // A byte between the pages that a sampled fingerprint looks at.
  static void ChangeAToken(const std::string& prefix) {
    std::fstream bin(prefix + ".bin",
                     std::ios::in | std::ios::out | std::ios::binary);
    bin.seekg(6000);
    const char byte = static_cast<char>(bin.peek() ^ 4);
    bin.seekp(6000);
    bin.put(byte);
  }

  // One rank with each beginning of the command line.
  static ProcessResult RunPair(const Arguments& first, const Arguments& second,
                               const Arguments& command,
                               const Arguments& of_second = {}) {
    return RunProcess(Mpirun(1, first + command) + Arguments{":", "-np", "1"} +
                          second + command + of_second,
                      kLimitSeconds);
  }
  static ProcessResult RunOnHosts(const Arguments& lextra) {
    return RunPair({"-wdir", Path("a")}, {"-wdir", Path("b")},
                   Absolute(Lextra(lextra)));
  }
  static Arguments Absolute(Arguments command) {
    command[0] = fs::absolute(command[0]).string();
    return command;
  }

  static Arguments TrainRelative(const std::string& name) {
    Arguments command = Train(Path(name), {"--stop_at_step=2"});
    std::erase_if(command, [](const std::string& argument) {
      return argument.starts_with("data.train=") ||
             argument.starts_with("data.validation=");
    });
    return command +
           Arguments{"data.train=train", "data.validation=validation"};
  }
  static Arguments Evaluate(const std::string& checkpoint,
                            const std::string& results) {
    return {"evaluate",
            "--checkpoint=" + checkpoint,
            "--results_dir=" + Path(results),
            "data.validation=validation",
            "parallel.data=1",
            "parallel.context=2",
            "parallel.num_threads=1",
            "evaluation.lengths=[32]",
            "evaluation.max_tokens=4096"};
  }

  static void ExpectRefused(const ProcessResult& result, int code,
                            const std::vector<std::string>& words) {
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.exit_code, code) << result.output;
    const std::string line = LineWith("lextra: error: ", result.output);
    for (const std::string& word : words) EXPECT_THAT(line, HasSubstr(word));
    EXPECT_THAT(line, AllOf(HasSubstr("on rank 0 (host "),
                            HasSubstr("on rank 1 (host ")))
        << result.output;
  }
};

TEST_F(SameStartTest, EqualCopiesOnTwoHostsTrainAndAreScored) {
  const ProcessResult trained = RunOnHosts(TrainRelative("equal"));
  EXPECT_EQ(trained.exit_code, 0) << trained.output;
  const ProcessResult scored = RunOnHosts(Evaluate("copy", "equal-results"));
  EXPECT_EQ(scored.exit_code, 0) << scored.output;
}

TEST_F(SameStartTest, TokensThatDifferAreFoundByTrainAndEvaluate) {
  for (const std::string split : {"train", "validation"}) {
    ChangeAToken(Path("b/" + split));
    ExpectRefused(RunOnHosts(TrainRelative("mixed-" + split)), kInput,
                  {"data." + split + "=", "/" + split, "digest "});
    if (split == "validation") {
      ExpectRefused(RunOnHosts(Evaluate("copy", "mixed-results")), kInput,
                    {"data.validation=validation", "digest "});
    }
    ChangeAToken(Path("b/" + split));
  }
}

TEST_F(SameStartTest, DataSetsOfOtherSizesAreFound) {
  const std::string aside = Path("aside");
  for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
    fs::rename(Path("b/train") + suffix, aside + suffix);
    fs::copy(Path("b/validation") + suffix, Path("b/train") + suffix);
  }
  ExpectRefused(RunOnHosts(TrainRelative("mixed-sizes")), kInput,
                {"data.train=", " tokens"});
  for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
    fs::rename(aside + suffix, Path("b/train") + suffix);
  }
}

TEST_F(SameStartTest, AnotherCheckpointOfTheSameNameIsFound) {
  ExpectRefused(RunOnHosts(Evaluate("run", "two-checkpoints")), kCheckpoint,
                {"step-00000001/MANIFEST.json"});
}

TEST_F(SameStartTest, OtherArgumentsAreFound) {
  ExpectRefused(
      RunPair({}, {}, Lextra(Train(Path("arguments"))), {"--stop_at_step=3"}),
      kUsage, {"--stop_at_step=3 on rank 1", "nothing on rank 0"});
  ExpectRefused(RunPair({"env", "LEXTRA_ATTENTION=plain"}, {},
                        Lextra(Train(Path("env")))),
                kUsage, {"LEXTRA_ATTENTION=plain"});
}

TEST_F(SameStartTest, AnotherBuildIsFound) {
  const Arguments command = Train(Path("builds"));
  const std::string other = Path("other-lextra");
  fs::copy(Lextra({})[0], other);
  std::ofstream(other, std::ios::binary | std::ios::app) << "another build";
  ExpectRefused(RunProcess(Mpirun(1, Lextra(command)) +
                               Arguments{":", "-np", "1", other} + command,
                           kLimitSeconds),
                kUsage, {"different programs", "digest "});
}

// Products of the ranks would be rounded differently, and replicas drift apart.
TEST_F(SameStartTest, RanksComputeWithTheInstructionSetThatAllHave) {
  for (const std::string variable :
       {"LEXTRA_INSTRUCTION_SET=baseline", "ATEN_CPU_CAPABILITY=default"}) {
    const std::string run = Path("mixed-" + variable);
    const ProcessResult mixed = RunPair(
        {"env", variable}, {},
        Lextra(Train(run, {"parallel.replica_check_interval_steps=1"})));
    EXPECT_EQ(mixed.exit_code, 0) << mixed.output;
    EXPECT_THAT(LineWith("instruction sets differ", mixed.output),
                HasSubstr("all ranks use the lowest, " + variable));
    const std::string plain = Path("plain-" + variable);
    const ProcessResult alike =
        RunPair({"env", variable}, {"env", variable}, Lextra(Train(plain)));
    EXPECT_EQ(alike.exit_code, 0) << alike.output;
    EXPECT_EQ(LossesOf(run), LossesOf(plain));
  }
}

TEST_F(SameStartTest, AnUnknownInstructionSetIsRefused) {
  const ProcessResult result =
      RunPair({}, {"env", "LEXTRA_INSTRUCTION_SET=avx1024"},
              Lextra(Train(Path("unknown-set"))));
  EXPECT_EQ(result.exit_code, kUsage) << result.output;
  EXPECT_THAT(LineWith("lextra: error: ", result.output),
              AllOf(HasSubstr("rank 1"), HasSubstr("LEXTRA_INSTRUCTION_SET")));
}

// Of the same length and the same sampled fingerprint.
TEST_F(SameStartTest, AJournalDoesNotAnswerForOtherData) {
  Arguments command = Lextra(Evaluate(Path("a/run"), "journal"));
  std::replace(command.begin(), command.end(),
               std::string("data.validation=validation"),
               "data.validation=" + Path("b/validation"));
  std::replace(command.begin(), command.end(),
               std::string("parallel.context=2"),
               std::string("parallel.context=1"));
  const std::string known = "skipping them";
  const auto results = [] {
    return nlohmann::json::parse(ReadText(Path("journal/results.json")));
  };
  RunWell(command);
  const nlohmann::json first = results();
  EXPECT_THAT(RunWell(command).output, HasSubstr(known));
  EXPECT_EQ(results()["data"], first["data"]);
  ChangeAToken(Path("b/validation"));
  const ProcessResult refused = RunProcess(command, kLimitSeconds);
  EXPECT_EQ(refused.exit_code, kUsage) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("holds results of checkpoint"));
  fs::remove(Path("journal/results.json"));
  EXPECT_THAT(RunWell(command).output, Not(HasSubstr(known)));
  ChangeAToken(Path("b/validation"));
  EXPECT_NE(results()["data"]["digest"], first["data"]["digest"]);
  EXPECT_EQ(results()["data"]["tokens"], first["data"]["tokens"]);
  EXPECT_EQ(results()["config_digest"], first["config_digest"]);
}

}  // namespace
}  // namespace lextra::testing
