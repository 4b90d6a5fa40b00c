// Memory available to this process under its control groups (cgroups, man 7):
// those of schedulers, containers and systemd, versions 1 and 2.
#ifndef LEXTRA_BASE_CONTROL_GROUPS_H_
#define LEXTRA_BASE_CONTROL_GROUPS_H_

#include <cstdint>
#include <string>

namespace lextra {

// Bytes that may still be used under the limits of the process's group and of
// all its parents, whichever leaves least; the largest int64 if none has a
// limit. Of a limit, what its whole group uses is subtracted, except for cached
// files, which the kernel reclaims when memory is short. Groups above the one
// that a container sees as the root are invisible, except for the limits that
// version 1 reports.
//
// `root` is prepended to /proc and /sys, for tests.
int64_t MemoryLeftInControlGroups(const std::string& root = "");

}  // namespace lextra

#endif  // LEXTRA_BASE_CONTROL_GROUPS_H_
