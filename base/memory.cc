#include "base/memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace lextra {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number after `key` in a file of lines "key: 123 kB"; none if there is no
// such line.
std::optional<int64_t> Kilobytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kilobytes = 0;
    if (word == key && file >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

// What a limit leaves of what `key` of /proc/self/status counts.
int64_t LeftOf(int limit, const std::string& key) {
  rlimit value;
  if (getrlimit(limit, &value) != 0 || value.rlim_cur == RLIM_INFINITY) {
    return kUnlimited;
  }
  const auto used = Kilobytes("/proc/self/status", key);
  return std::max<int64_t>(
      0, static_cast<int64_t>(value.rlim_cur) - used.value_or(0));
}

// A number of the process's control group, that after `key` where the file has
// lines of keys and numbers; none for "max".
std::optional<int64_t> GroupNumber(const std::string& name,
                                   const std::string& key = "") {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    std::ifstream file("/sys/fs/cgroup" + line.substr(3) + "/" + name);
    for (std::string word; !key.empty() && word != key && file;) file >> word;
    int64_t bytes = 0;
    if (file >> bytes) return bytes;
  }
  return std::nullopt;
}

}  // namespace

void KeepFreedMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
}

int64_t MemoryLeftToProcess() {
  return std::min(LeftOf(RLIMIT_DATA, "VmData:"), LeftOf(RLIMIT_AS, "VmSize:"));
}

int64_t MemoryLeftOnHost() {
  const int64_t left =
      Kilobytes("/proc/meminfo", "MemAvailable:").value_or(kUnlimited);
  const std::optional<int64_t> most = GroupNumber("memory.max");
  if (!most) return left;
  // Cached files are given back where memory is short.
  const int64_t used = GroupNumber("memory.current").value_or(0) -
                       GroupNumber("memory.stat", "inactive_file").value_or(0) -
                       GroupNumber("memory.stat", "active_file").value_or(0);
  return std::clamp<int64_t>(*most - used, 0, left);
}

}  // namespace lextra
