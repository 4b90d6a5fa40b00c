// compare.sh with toy sizes and without PyTorch: that it runs, and what it
// says.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "base/io/files.h"
#include "tests/testing/process.h"
#include "tests/testing/temporary_folder.h"

namespace lextra::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

ProcessResult Compare(std::vector<std::string> arguments) {
  // Nothing may be fetched for a test.
  setenv("LEXTRA_PEER_PYTHON", "/bin/false", /*overwrite=*/1);
  arguments.insert(arguments.begin(), std::string(getenv("LEXTRA_SOURCE_DIR")) +
                                          "/tests/benchmarks/compare.sh");
  return RunProcess(arguments, /*limit_seconds=*/120);
}

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, unused] : object.items()) keys.push_back(key);
  return keys;
}

TEST(Compare, ReportsEachRoundOfContendersThatComeToTheSameResult) {
  const TemporaryFolder folder;
  const ProcessResult result =
      Compare({"--quick", "--rounds=2", "--contenders=lextra",
               "--cases=train_2.7m,score_2ranks", "--json=" + (folder / "json"),
               "--markdown=" + (folder / "markdown")});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("same result (train): lextra "));

  const Json report = Json::parse(ReadFile(folder / "json", 1 << 20).value());
  ASSERT_EQ(report["cases"].size(), 2u);
  const Json& train = report["cases"][0];
  EXPECT_EQ(train["name"], "train_2.7m");
  EXPECT_EQ(train["unit"], "ms");
  EXPECT_THAT(KeysOf(train["contenders"]),
              UnorderedElementsAre("lextra", "lextra_data2", "lextra_tensor2"));
  for (const auto& [name, contender] : train["contenders"].items()) {
    EXPECT_EQ(contender["repeats"], 2) << name;
    EXPECT_GT(contender["min"], 0) << name;
    EXPECT_LE(contender["min"], contender["median"]) << name;
    EXPECT_LE(contender["median"], contender["max"]) << name;
    EXPECT_GT(contender["peak_rss_mb"], 50) << name;
  }
  // Not a matter of speed: what two ranks must send each other.
  const Json& bytes = report["cases"][1]["ratios"][1];
  EXPECT_EQ(bytes["unit"], "bytes_sent");
  EXPECT_EQ(bytes["met"], true) << bytes;
  EXPECT_THAT(ReadFile(folder / "markdown", 1 << 20).value(),
              HasSubstr("| lextra_tensor2 | 2 x 1 |"));
}

TEST(Compare, AContenderThatFailsIsNamedWithItsError) {
  const ProcessResult result =
      Compare({"--quick", "--rounds=1", "--cases=bca_vs_fork",
               "--contenders=lextra,pytorch_fork"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("compare: pytorch_fork has failed"));
}

TEST(Compare, AnUnknownCaseIsRefusedWithTheKnownOnes) {
  const ProcessResult result = Compare({"--cases=train_1m"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("unknown case train_1m"));
  EXPECT_THAT(result.output, HasSubstr("train_14.3m"));
}

}  // namespace
}  // namespace lextra::testing
