// What the control groups of this process (cgroups, man 7) leave it of memory:
// those of schedulers, containers and systemd, in versions 1 and 2.
#ifndef LEXTRA_BASE_CONTROL_GROUPS_H_
#define LEXTRA_BASE_CONTROL_GROUPS_H_

#include <cstdint>
#include <string>

namespace lextra {

// Bytes that may still be used under the limits of the process's group and of
// all groups above it, whichever leaves least; the largest int64 where none has
// a limit. A limit counts less what its whole group uses without cached files,
// which are given back where memory is short. Groups above the one that a
// container sees as the root are out of sight, but for the limits that version
// 1 tells of them.
//
// `root` stands before /proc and /sys, for tests.
int64_t MemoryLeftInControlGroups(const std::string& root = "");

}  // namespace lextra

#endif  // LEXTRA_BASE_CONTROL_GROUPS_H_
