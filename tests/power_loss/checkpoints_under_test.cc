#include "tests/power_loss/checkpoints_under_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace lextra::power_loss {
namespace {

namespace fs = std::filesystem;

constexpr int kNumShards = 2;
constexpr size_t kWordsPerShard = size_t{1} << 16;  // 512 KiB
constexpr char kStepPrefix[] = "step-";

std::string StepFolder(const std::string& folder, int64_t step) {
  return folder + "/" + kStepPrefix + std::to_string(step);
}

std::string ShardName(int shard) {
  return "shard-" + std::to_string(shard) + ".bin";
}

std::string ShardContents(int64_t step, int shard) {
  std::mt19937_64 random(step * kNumShards + shard);
  std::vector<uint64_t> words(kWordsPerShard);
  std::ranges::generate(words, random);
  return std::string(reinterpret_cast<const char*>(words.data()),
                     words.size() * sizeof(uint64_t));
}

std::string ManifestContents(int64_t step) {
  return "step " + std::to_string(step) + "\nshards " +
         std::to_string(kNumShards) + "\nend\n";
}

bool SyncAndClose(int descriptor) {
  const bool is_durable = fsync(descriptor) == 0;
  return close(descriptor) == 0 && is_durable;
}

bool WriteDurably(const std::string& path, const std::string& bytes) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (file < 0) return false;
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(file, bytes.data() + done, bytes.size() - done);
    if (n <= 0) {
      close(file);
      return false;
    }
    done += n;
  }
  return SyncAndClose(file);
}

bool SyncFolder(const std::string& path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY);
  return folder >= 0 && SyncAndClose(folder);
}

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

bool SaveOnce(const std::string& folder, int64_t step) {
  const std::string temporary = folder + "/.tmp-" + std::to_string(step);
  std::error_code error;
  fs::remove_all(temporary, error);
  if (error || mkdir(temporary.c_str(), 0700) != 0) return false;
  for (int shard = 0; shard < kNumShards; ++shard) {
    if (!WriteDurably(temporary + "/" + ShardName(shard),
                      ShardContents(step, shard))) {
      return false;
    }
  }
  return WriteDurably(temporary + "/MANIFEST", ManifestContents(step)) &&
         SyncFolder(temporary) &&
         std::rename(temporary.c_str(), StepFolder(folder, step).c_str()) ==
             0 &&
         SyncFolder(folder);
}

std::vector<int64_t> CommittedSteps(const std::string& folder) {
  std::vector<int64_t> steps;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kStepPrefix)) {
      steps.push_back(std::stoll(name.substr(sizeof(kStepPrefix) - 1)));
    }
  }
  std::ranges::sort(steps);
  return steps;
}

std::string Verify(const std::string& folder, int64_t step) {
  const std::string place = StepFolder(folder, step);
  if (Read(place + "/MANIFEST") != ManifestContents(step)) {
    return "MANIFEST is not what was written";
  }
  for (int shard = 0; shard < kNumShards; ++shard) {
    if (Read(place + "/" + ShardName(shard)) != ShardContents(step, shard)) {
      return ShardName(shard) + " is not what was written";
    }
  }
  return "";
}

bool Delete(const std::string& folder, int64_t step) {
  const std::string trash = folder + "/.trash-" + std::to_string(step);
  if (std::rename(StepFolder(folder, step).c_str(), trash.c_str()) != 0 ||
      !SyncFolder(folder)) {
    return false;
  }
  std::error_code error;
  fs::remove_all(trash, error);
  return !error;
}

}  // namespace lextra::power_loss
