// Ranks of an evaluation that die by SIGKILL at random moments: the same
// command, rerun until it ends, counts every document once and writes the same
// as an undisturbed evaluation.
#include <gmock/gmock.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "tests/end_to_end/lextra_program.h"

namespace lextra::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kRanks = 4;
constexpr int kKillsOfOneEvaluation = 5;
constexpr int kKills = 10;

class EvaluationKillTest : public EndToEndTest {
 protected:
  static Arguments Evaluate(const std::string& results) {
    return LextraOn(
        kRanks,
        {"evaluate", "--checkpoint=" + Path("run"), "--results_dir=" + results,
         "parallel.data=2", "parallel.context=2", "parallel.num_threads=1",
         "evaluation.lengths=[32, 64, 128]",
         "evaluation.protocols=[NON_OVERLAPPING, SAME_TARGETS, "
         "STREAMING]",
         "evaluation.segment_tokens=64", "evaluation.max_tokens=16384"});
  }

  // results.json but for when and how fast.
  static json Results(const std::string& folder) {
    json results = json::parse(ReadText(folder + "/results.json"));
    results.erase("date");
    results.erase("command");
    for (json& row : results["results"]) {
      row.erase("tokens_per_second");
      row.erase("peak_memory_bytes");
    }
    return results;
  }

  // Documents of documents.jsonl; fails where one is there twice.
  static std::set<std::string> Documents(const std::string& folder) {
    std::set<std::string> documents;
    std::istringstream lines(ReadText(folder + "/documents.jsonl"));
    std::string line;
    std::getline(lines, line);  // the header
    while (std::getline(lines, line)) {
      const json entry = json::parse(line);
      EXPECT_TRUE(documents
                      .insert(entry["row"].get<std::string>() + "/" +
                              entry["document"].dump())
                      .second)
          << line;
    }
    return documents;
  }

  std::mt19937_64 random_{std::random_device()()};
};

TEST_F(EvaluationKillTest, KilledAtRandomEndsAsIfNothingHadHappened) {
  RunWell(LextraOn(2, Train(Path("run"))));
  const std::string whole = Path("whole");
  const ProcessResult undisturbed = RunWell(Evaluate(whole));
  const std::set<std::string> documents = Documents(whole);
  ASSERT_GT(documents.size(), 100u);
  const int num_kills = CountFrom("LEXTRA_EVALUATION_KILLS", kKills);
  int num_killed = 0;
  int num_hung = 0;
  while (num_killed < num_kills) {
    const std::string results = Path("killed");
    fs::remove_all(results);
    for (int i = 0; i < kKillsOfOneEvaluation; ++i) {
      const double seconds =
          undisturbed.seconds * static_cast<double>(random_() % 1000) / 1000;
      const ProcessResult killed =
          KillARank(Evaluate(results), seconds, random_() % kRanks, &num_hung);
      if (killed.exit_code == 0) break;
      ++num_killed;
    }
    const ProcessResult resumed = RunWell(Evaluate(results));
    EXPECT_EQ(Results(results), Results(whole)) << resumed.output;
    EXPECT_EQ(Documents(results), documents);
    for (const auto& file : fs::directory_iterator(results)) {
      EXPECT_THAT(file.path().filename().string(),
                  ::testing::Not(::testing::HasSubstr("documents-")));
    }
    if (HasFailure()) return;
    std::printf("random kills of evaluations: %d, all ended the same\n",
                num_killed);
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace lextra::testing
