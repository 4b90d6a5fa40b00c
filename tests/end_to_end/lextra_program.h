// The real program under the real mpirun, a corpus of real text and a model
// small enough to train in seconds: what the end-to-end tests share.
#ifndef LEXTRA_TESTS_END_TO_END_LEXTRA_PROGRAM_H_
#define LEXTRA_TESTS_END_TO_END_LEXTRA_PROGRAM_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/testing/process.h"

namespace lextra::testing {

using Arguments = std::vector<std::string>;

Arguments operator+(Arguments left, const Arguments& right);

// Far above what a run of these tests takes on two busy cores; a hang ends
// here.
constexpr double kLimitSeconds = 120;

// A job whose rank is lost has ended by then.
constexpr double kSecondsToDie = 5;

// Command lines of the program: one process without mpirun, and ranks of this
// host that talk over the loopback.
Arguments Lextra(const Arguments& arguments);
Arguments Mpirun(int num_ranks, const Arguments& command);
Arguments LextraOn(int num_ranks, const Arguments& arguments);

// Runs the command and fails the test unless it ends with 0.
ProcessResult RunWell(const Arguments& command);

// Starts ranks and kills one by SIGKILL after some time, whatever the job does
// then; how mpirun ended. It may end by itself before that, with 0. All ranks
// are gone soon. So is mpirun, except once in some hundred times, when it hangs
// forever: it is then killed as deploy/supervise.sh does, and counted.
ProcessResult KillARank(const Arguments& command, double seconds, size_t rank,
                        int* num_launchers_hung);

// metrics.jsonl of a run: the training loss and the validation loss by step, as
// printed there (every digit of the double).
std::map<int64_t, double> LossesOf(const std::string& run_folder);
std::map<int64_t, double> ValidationLossesOf(const std::string& run_folder);

// Of every step: tells which tokens it read.
std::map<int64_t, int64_t> BatchHashesOf(const std::string& run_folder);

// The CRC-32C of every stored box of a checkpoint, once all its bytes have been
// read and compared with them: two that are equal are equal bit for bit.
std::map<std::string, uint32_t> ChecksumsOf(const std::string& step_folder);

// A number that an environment variable may set: how often a test repeats what
// the long runs do more often (README.md).
int CountFrom(const char* variable, int otherwise);

// The command with the faults of base/io/system_calls.h.
Arguments WithFaults(const std::string& rules, const Arguments& command);

// The first line of a text that holds a word; empty if none does.
std::string LineWith(const std::string& word, const std::string& text);

std::string ReadText(const std::string& path);
void WriteText(const std::string& path, const std::string& text);

// One folder and one corpus for all tests of a suite.
class EndToEndTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();

  // A path in the suite's folder.
  static std::string Path(const std::string& name);
  // Prefixes of what `lextra prepare` makes of this project's sources.
  static std::string TrainData() { return Path("corpus-train"); }
  static std::string ValidationData() { return Path("corpus-validation"); }

  // `lextra train` of the small model: 20 steps of 8 samples, every step in
  // metrics.jsonl, one checkpoint at the end, `more` after all that.
  static Arguments Train(const std::string& run_folder,
                         const Arguments& more = {});

 private:
  static std::string* folder_;
};

}  // namespace lextra::testing

#endif  // LEXTRA_TESTS_END_TO_END_LEXTRA_PROGRAM_H_
