#include "base/memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "base/control_groups.h"

namespace lextra {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number after `key` in a file of lines "key: 123 kB", in bytes; nullopt if
// there is no such line.
std::optional<int64_t> Kilobytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kilobytes = 0;
    if (word == key && file >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

// What a limit leaves after the usage under `key` of /proc/self/status.
int64_t LeftOf(int limit, const std::string& key) {
  rlimit value;
  if (getrlimit(limit, &value) != 0 || value.rlim_cur == RLIM_INFINITY) {
    return kUnlimited;
  }
  const auto used = Kilobytes("/proc/self/status", key);
  return std::max<int64_t>(
      0, static_cast<int64_t>(value.rlim_cur) - used.value_or(0));
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
  return std::min(
      Kilobytes("/proc/meminfo", "MemAvailable:").value_or(kUnlimited),
      MemoryLeftInControlGroups());
}

}  // namespace lextra
