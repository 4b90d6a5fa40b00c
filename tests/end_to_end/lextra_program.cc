#include "tests/end_to_end/lextra_program.h"

#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "checkpoint/files/checkpoint_copy.h"
#include "checkpoint/files/shard_file.h"

namespace lextra::testing {
namespace {

constexpr char kSmallModel[] = R"(
model { num_layers: 2 hidden_size: 32 num_heads: 4 training_length: 32 }
data { global_batch_size: 8 }
schedule {
  num_steps: 20 warmup_steps: 4 learning_rate: 5e-3 min_learning_rate: 5e-4
}
parallel { num_threads: 1 bucket_bytes: 16384 }
checkpoint { interval_steps: 0 }
evaluation { validation_interval_steps: 10 validation_samples: 8 }
logging { interval_steps: 1 }
)";

std::string Variable(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

// The values of `key` in metrics.jsonl by step.
template <typename Value>
std::map<int64_t, Value> MetricsOf(const std::string& run_folder,
                                   const char* key) {
  std::map<int64_t, Value> values;
  std::istringstream lines(ReadText(run_folder + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json object = nlohmann::json::parse(line);
    if (object.contains(key)) values[object["step"]] = object[key];
  }
  return values;
}

}  // namespace

Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

Arguments Lextra(const Arguments& arguments) {
  return Arguments{Variable("LEXTRA_BUILD_DIR", "build") + "/launch/lextra"} +
         arguments;
}

Arguments Mpirun(int num_ranks, const Arguments& command) {
  return Arguments{"mpirun",
                   "-np",
                   std::to_string(num_ranks),
                   "--oversubscribe",
                   "--bind-to",
                   "none",
                   "--mca",
                   "btl",
                   "self,vader",
                   "--mca",
                   "oob_tcp_if_include",
                   "lo",
                   "--mca",
                   "btl_vader_single_copy_mechanism",
                   "none"} +
         command;
}

Arguments LextraOn(int num_ranks, const Arguments& arguments) {
  return Mpirun(num_ranks, Lextra(arguments));
}

ProcessResult RunWell(const Arguments& command) {
  ProcessResult result = RunProcess(command, kLimitSeconds);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, 0) << ::testing::PrintToString(command) << "\n"
                                 << result.output;
  return result;
}

ProcessResult KillARank(const Arguments& command, double seconds, size_t rank,
                        int* num_launchers_hung) {
  using std::chrono::steady_clock;
  Process run(command);
  const auto start = steady_clock::now();
  std::vector<pid_t> ranks;
  while (std::chrono::duration<double>(steady_clock::now() - start).count() <
             seconds ||
         ranks.size() <= rank) {
    if (run.HasEnded()) return run.Wait(kLimitSeconds);
    ranks = ChildrenOf(run.pid());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (kill(ranks[rank], SIGKILL) != 0) return run.Wait(kLimitSeconds);
  EXPECT_TRUE(WaitUntilGone(ranks, kSecondsToDie));
  if (!WaitUntilGone({run.pid()}, kSecondsToDie)) {
    kill(run.pid(), SIGKILL);
    ++*num_launchers_hung;
  }
  return run.Wait(kLimitSeconds);
}

std::map<int64_t, double> LossesOf(const std::string& run_folder) {
  return MetricsOf<double>(run_folder, "loss");
}

std::map<int64_t, double> ValidationLossesOf(const std::string& run_folder) {
  return MetricsOf<double>(run_folder, "validation_loss");
}

std::map<int64_t, int64_t> BatchHashesOf(const std::string& run_folder) {
  return MetricsOf<int64_t>(run_folder, "batch_hash");
}

std::map<std::string, uint32_t> ChecksumsOf(const std::string& step_folder) {
  std::map<std::string, uint32_t> checksums;
  const absl::StatusOr<Manifest> manifest = VerifyCheckpoint(step_folder);
  EXPECT_TRUE(manifest.ok()) << manifest.status();
  if (!manifest.ok()) return checksums;
  for (const TensorIndex& tensor : manifest->tensors()) {
    for (const StoredBox& box : tensor.boxes()) {
      checksums[StoredName(tensor.name(), BoxOf(box).offset)] = box.crc32c();
    }
  }
  return checksums;
}

int CountFrom(const char* variable, int otherwise) {
  return std::atoi(Variable(variable, std::to_string(otherwise)).c_str());
}

Arguments WithFaults(const std::string& rules, const Arguments& command) {
  return Arguments{"env", "LEXTRA_FAULTS=" + rules} + command;
}

std::string LineWith(const std::string& word, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(word) != std::string::npos) return line;
  }
  return "";
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  EXPECT_TRUE(file.flush()) << path;
}

std::string* EndToEndTest::folder_ = nullptr;

void EndToEndTest::SetUpTestSuite() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "lextra-test-XXXXXX").string();
  folder_ = new std::string(mkdtemp(pattern.data()));
  WriteText(Path("small.textproto"), kSmallModel);
  Arguments prepare = {"prepare", "--output=" + Path("corpus"),
                       "--extension=.h", "--extension=.cc", "--extension=.md"};
  for (const char* folder : {"base", "config", "parallel", "data", "model",
                             "checkpoint", "trainer"}) {
    prepare.push_back(Variable("LEXTRA_SOURCE_DIR", ".") + "/" + folder);
  }
  RunWell(Lextra(prepare));
}

void EndToEndTest::TearDownTestSuite() {
  std::error_code ignored;
  std::filesystem::remove_all(*folder_, ignored);
  delete folder_;
}

std::string EndToEndTest::Path(const std::string& name) {
  return *folder_ + "/" + name;
}

Arguments EndToEndTest::Train(const std::string& run_folder,
                              const Arguments& more) {
  return Arguments{"train", "--config=" + Path("small.textproto"),
                   "--run_dir=" + run_folder, "data.train=" + TrainData(),
                   "data.validation=" + ValidationData()} +
         more;
}

}  // namespace lextra::testing
