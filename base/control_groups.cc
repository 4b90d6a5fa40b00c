#include "base/control_groups.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/str_split.h"

namespace lextra {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// How a version's hierarchy is found, and what its groups' files are called.
struct Version {
  const char* file_system;
  const char* controller;  // in /proc/self/cgroup and in a mount's options
  const char* usual_place;
  std::vector<const char*> limits;
  const char* usage;
  const char* limit_in_statistics;  // null: none
  const char* cached_files[2];
};

std::vector<Version> Versions() {
  // At memory.high a group is throttled until it is useless.
  return {{.file_system = "cgroup2",
           .controller = "",
           .usual_place = "/sys/fs/cgroup",
           .limits = {"memory.max", "memory.high"},
           .usage = "memory.current",
           .limit_in_statistics = nullptr,
           .cached_files = {"inactive_file", "active_file"}},
          {.file_system = "cgroup",
           .controller = "memory",
           .usual_place = "/sys/fs/cgroup/memory",
           .limits = {"memory.limit_in_bytes"},
           .usage = "memory.usage_in_bytes",
           .limit_in_statistics = "hierarchical_memory_limit",
           .cached_files = {"total_inactive_file", "total_active_file"}}};
}

// The number in a file, or the one after `key` in a file of lines "key number";
// nullopt for "max", or if there is no such file.
std::optional<int64_t> Number(const fs::path& path,
                              const std::string& key = "") {
  std::ifstream file(path);
  for (std::string word; !key.empty() && word != key && file;) file >> word;
  int64_t bytes = 0;
  if (file >> bytes) return bytes;
  return std::nullopt;
}

// What the limits of one group leave after the usage of it and its children.
int64_t LeftInGroup(const fs::path& group, const Version& version) {
  int64_t limit = kUnlimited;
  for (const char* name : version.limits) {
    limit = std::min(limit, Number(group / name).value_or(kUnlimited));
  }
  const fs::path statistics = group / "memory.stat";
  if (version.limit_in_statistics != nullptr) {
    limit = std::min(
        limit,
        Number(statistics, version.limit_in_statistics).value_or(kUnlimited));
  }
  // Version 1 writes "no limit" as the last page below 2^63.
  if (limit > kUnlimited / 2) return kUnlimited;
  int64_t used = Number(group / version.usage).value_or(0);
  for (const char* key : version.cached_files) {
    used -= Number(statistics, key).value_or(0);
  }
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, used));
}

// The group of this process as a path in the version's hierarchy.
std::optional<fs::path> GroupOfProcess(const std::string& root,
                                       const Version& version) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    // 4:cpu,memory:/path, or 0::/path in version 2.
    const std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() < 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (std::count(controllers.begin(), controllers.end(), version.controller) >
        0) {
      return parts[2];
    }
  }
  return std::nullopt;
}

// Where the hierarchy is mounted, from its group `top` down.
struct Mount {
  fs::path top;
  fs::path place;
};

Mount MountOf(const std::string& root, const Version& version) {
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // 31 24 0:26 TOP PLACE options - FILE_SYSTEM source OPTIONS (man 5 proc).
    const std::vector<std::string> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() < 2) continue;
    const std::vector<std::string> fields = absl::StrSplit(halves[0], ' ');
    const std::vector<std::string> kind = absl::StrSplit(halves[1], ' ');
    if (fields.size() < 5 || kind.size() < 3 ||
        kind[0] != version.file_system) {
      continue;
    }
    const std::vector<std::string> options = absl::StrSplit(kind[2], ',');
    if (*version.controller == '\0' ||
        std::count(options.begin(), options.end(), version.controller) > 0) {
      return {fields[3], fields[4]};
    }
  }
  return {"/", version.usual_place};
}

// The folders of the group and its parents, as far as they are visible.
std::vector<fs::path> FoldersOf(const std::string& root, const fs::path& group,
                                const Mount& mount) {
  fs::path below = group.lexically_relative(mount.top);
  // A container that is told its group's name on the host still sees that group
  // as the root.
  if (below.empty() || below == "." || *below.begin() == "..") below = "";
  std::vector<fs::path> folders;
  for (;; below = below.parent_path()) {
    folders.push_back(fs::path(root + mount.place.string()) / below);
    if (below.empty()) return folders;
  }
}

}  // namespace

int64_t MemoryLeftInControlGroups(const std::string& root) {
  int64_t left = kUnlimited;
  for (const Version& version : Versions()) {
    const std::optional<fs::path> group = GroupOfProcess(root, version);
    if (!group) continue;
    bool is_own = true;
    for (const fs::path& folder :
         FoldersOf(root, *group, MountOf(root, version))) {
      // Version 1: without it a group does not count its children.
      const bool counts_below =
          Number(folder / "memory.use_hierarchy").value_or(1) != 0;
      if (!is_own && !counts_below) break;
      is_own = false;
      left = std::min(left, LeftInGroup(folder, version));
    }
  }
  return left;
}

}  // namespace lextra
